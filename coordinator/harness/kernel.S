# The harness kernel: what every hart does around the threads of a litmus test. s0 is the hart's block throughout.
#
# A round: all agree whether to go on; each takes the round's row of the schedule, writes the initial values of its share
# of the instances; all run their thread over all instances; each counts the outcomes of its share. Barriers between.
# Names in capitals come from coordinator/harness/memory.py.

_start:
        li      s0, HART_BLOCKS
        slli    t0, a0, 12
        add     s0, s0, t0
        sd      a0, BLOCK_HART(s0)
        sd      a1, BLOCK_HARTS(s0)
        la      t0, after_thread
        sd      t0, BLOCK_RETURN(s0)

idle:
        li      t0, CONTROL + CONTROL_COMMAND
        ld      t1, BLOCK_SEEN(s0)
wait_for_command:
        ld      t2, 0(t0)
        beq     t1, t2, wait_for_command
        fence   rw, rw
        mv      s2, t2                  # SEEN once counts and table are this command's: the host reads them from then on
        srli    t3, t2, COMMAND_TEST_BITS
        slli    t3, t3, 32
        sd      t3, BLOCK_EPOCH(s0)
        slli    t2, t2, 64 - COMMAND_TEST_BITS
        srli    t2, t2, 64 - COMMAND_TEST_BITS - 3
        li      t3, TESTS
        add     t2, t2, t3
        ld      s1, 0(t2)
        sd      s1, BLOCK_TEST(s0)
        ld      t0, BLOCK_HART(s0)
        ld      t1, BLOCK_HARTS(s0)
        ld      t2, RECORD_THREADS(s1)
        sd      t2, BLOCK_THREADS(s0)
        divu    t3, t0, t2
        remu    t4, t0, t2
        sd      t4, BLOCK_ROLE(s0)
        divu    t1, t1, t2
        sd      zero, BLOCK_ROUNDS(s0)
        sd      zero, BLOCK_OUTCOMES(s0)
        sd      zero, BLOCK_LOST(s0)
        bgeu    t3, t1, surplus         # a hart too many for another team
        li      t4, TEAM_BYTES
        mul     t3, t3, t4
        li      t4, TEAMS
        add     t3, t3, t4
        sd      t3, BLOCK_TEAM(s0)
        li      t4, TEAM_CELLS
        add     t4, t4, t3
        sd      t4, BLOCK_CELLS(s0)
        ld      t0, BLOCK_ROLE(s0)
        li      t4, TEAM_RESULTS_OF_THREAD
        mul     t4, t4, t0
        add     t4, t4, t3
        li      t5, TEAM_RESULTS
        add     t4, t4, t5
        sd      t4, BLOCK_RESULTS(s0)
        # An empty table
        ld      t0, BLOCK_TABLE(s0)
        ld      t1, RECORD_SLOT_EXP(s1)
        li      t2, 1
        sll     t2, t2, t1
        li      t3, TABLE_SLOTS
clear:
        sd      zero, 0(t0)
        add     t0, t0, t2
        addi    t3, t3, -1
        bnez    t3, clear
        fence   rw, rw
        sd      s2, BLOCK_SEEN(s0)

round:
        ld      s1, BLOCK_TEST(s0)
        # The first hart decides for all whether this is the end.
        ld      t0, BLOCK_ROLE(s0)
        bnez    t0, decided
        li      t1, CONTROL + CONTROL_STOP
        ld      t1, 0(t1)
        ld      t2, BLOCK_SEEN(s0)
        bne     t1, t2, decided
        ld      t3, BLOCK_TEAM(s0)
        li      t4, TEAM_DECISION
        add     t3, t3, t4
        sd      t2, 0(t3)
decided:
        jal     ra, barrier
        ld      t2, BLOCK_SEEN(s0)
        ld      t3, BLOCK_TEAM(s0)
        li      t4, TEAM_DECISION
        add     t4, t4, t3
        ld      t4, 0(t4)
        beq     t2, t4, done
        # This round's row
        ld      t0, BLOCK_ROUNDS(s0)
        andi    t0, t0, SCHEDULE_ROWS - 1
        li      t1, ROW_END
        mul     t0, t0, t1
        li      t1, SCHEDULE
        add     s2, t0, t1
        ld      t0, ROW_MASK(s2)
        sd      t0, BLOCK_MASK(s0)
        addi    t0, t0, 1
        sd      t0, BLOCK_COUNT(s0)
        ld      t0, ROW_INCREMENT(s2)
        sd      t0, BLOCK_INCREMENT(s0)
        ld      t0, ROW_FIRST(s2)
        sd      t0, BLOCK_FIRST(s0)
        ld      t0, ROW_SYNC_MASK(s2)
        sd      t0, BLOCK_SYNC_MASK(s0)
        ld      t0, ROW_DELAY_MASK(s2)
        sd      t0, BLOCK_DELAY_MASK(s0)
        ld      t0, ROW_STRIDE(s2)
        sd      t0, BLOCK_STRIDE(s0)
        ld      t0, ROW_PATIENCE(s2)
        sd      t0, BLOCK_PATIENCE(s0)
        ld      t0, ROW_SHARE(s2)
        sd      t0, BLOCK_SHARE(s0)
        ld      t0, BLOCK_RANDOM(s0)
        ld      t1, BLOCK_FACTOR(s0)
        mul     t0, t0, t1
        addi    t0, t0, 1
        sd      t0, BLOCK_RANDOM(s0)
        srli    t0, t0, 40
        ld      t1, ROW_SKEW_MASK(s2)
        and     t0, t0, t1
        sd      t0, BLOCK_SKEW(s0)
        ld      t0, BLOCK_ROLE(s0)
        addi    t0, t0, 1
        sd      t0, BLOCK_TURN(s0)
        # Where the locations lie
        ld      t1, RECORD_AREA(s1)
        ld      t0, BLOCK_TEAM(s0)
        add     t1, t1, t0
        addi    t2, s2, ROW_BASES
        addi    t3, s0, BLOCK_BASES
        addi    t5, t3, MAX_LOCATIONS * 8
place:
        ld      t4, 0(t2)
        add     t4, t4, t1
        sd      t4, 0(t3)
        addi    t2, t2, 8
        addi    t3, t3, 8
        bltu    t3, t5, place
        # Initial words: address, value, mask
        ld      t0, RECORD_INITIAL_COUNT(s1)
        ld      t1, RECORD_INITIAL(s1)
        addi    t2, s0, BLOCK_INITIAL
place_initial:
        beqz    t0, placed_initial
        ld      t3, 0(t1)
        slli    t3, t3, 3
        add     t3, t3, s0
        ld      t3, BLOCK_BASES(t3)
        ld      t4, 8(t1)
        add     t3, t3, t4
        sd      t3, 0(t2)
        ld      t3, 16(t1)
        ld      t4, 24(t1)
        snez    t5, t4
        neg     t5, t5
        sd      t5, 16(t2)
        beqz    t4, no_address
        slli    t4, t4, 3
        add     t4, t4, s0
        ld      t4, BLOCK_BASES - 8(t4)
        add     t3, t3, t4
no_address:
        sd      t3, 8(t2)
        addi    t1, t1, 32
        addi    t2, t2, 24
        addi    t0, t0, -1
        j       place_initial
placed_initial:
        sd      t2, BLOCK_INITIAL_END(s0)
        # What is shown: address, mask, shifts
        ld      t0, RECORD_SHOWN_COUNT(s1)
        ld      t1, RECORD_SHOWN(s1)
        addi    t2, s0, BLOCK_SHOWN
place_shown:
        beqz    t0, placed_shown
        ld      t3, 0(t1)
        snez    t5, t3
        neg     t5, t5
        sd      t5, 8(t2)
        ld      t4, BLOCK_TEAM(s0)
        beqz    t3, of_result
        slli    t3, t3, 3
        add     t3, t3, s0
        ld      t4, BLOCK_BASES - 8(t3)
of_result:
        ld      t3, 8(t1)
        add     t4, t4, t3
        sd      t4, 0(t2)
        ld      t3, 16(t1)
        sd      t3, 16(t2)
        ld      t3, 24(t1)
        sd      t3, 24(t2)
        addi    t1, t1, 32
        addi    t2, t2, 32
        addi    t0, t0, -1
        j       place_shown
placed_shown:
        sd      t2, BLOCK_SHOWN_END(s0)

        # Initial values
        ld      a0, BLOCK_SHARE(s0)
        jal     ra, share
        ld      s3, BLOCK_STRIDE(s0)
        mul     s4, a0, s3
        mul     s5, a1, s3
        ld      s6, BLOCK_INITIAL_END(s0)
        addi    s7, s0, BLOCK_INITIAL
        beq     s4, s5, initialised
        beq     s6, s7, initialised
initialise:
        mv      t0, s7
initialise_word:
        ld      t1, 0(t0)
        ld      t2, 8(t0)
        ld      t3, 16(t0)
        and     t3, t3, s4
        add     t2, t2, t3
        add     t1, t1, s4
        sd      t2, 0(t1)
        addi    t0, t0, 24
        bltu    t0, s6, initialise_word
        add     s4, s4, s3
        bltu    s4, s5, initialise
initialised:
        jal     ra, barrier

        # The thread
        ld      t1, BLOCK_TEST(s0)
        ld      t2, BLOCK_ROLE(s0)
        slli    t2, t2, 3
        add     t1, t1, t2
        ld      t1, RECORD_ENTRY(t1)
        mv      a0, s0
        jr      t1

after_thread:                           # with a0 = the hart's block
        mv      s0, a0
        jal     ra, barrier
        # Outcomes: s4 is how far an instance's locations lie from the first's, s5 its results
        ld      a0, BLOCK_SHARE(s0)
        addi    a0, a0, 1
        jal     ra, share
        ld      t0, BLOCK_OUTCOMES(s0)
        sub     t1, a1, a0
        add     t0, t0, t1
        sd      t0, BLOCK_OUTCOMES(s0)
        beqz    t1, counted
        ld      s1, BLOCK_TEST(s0)
        ld      s3, BLOCK_STRIDE(s0)
        mul     s4, a0, s3
        slli    s5, a0, 6
        slli    s6, a1, 6
        ld      s7, BLOCK_SHOWN_END(s0)
        li      s8, RAM_BASE
        ld      s9, BLOCK_TABLE(s0)
        ld      s10, RECORD_SLOT_EXP(s1)
        li      s11, TABLE_SLOTS - 1
count:
        xor     a2, s4, s5
        li      a3, 0                   # hash
        addi    a4, s0, BLOCK_SHOWN
        addi    a5, s0, BLOCK_VALUES
value:
        ld      t0, 0(a4)
        ld      t1, 8(a4)
        and     t1, t1, a2
        xor     t1, t1, s5
        add     t0, t0, t1
        ld      t2, 0(t0)
        ld      t3, 16(a4)
        sll     t2, t2, t3
        ld      t3, 24(a4)
        sra     t2, t2, t3
        bgeu    t2, s8, maybe_address
known:
        sd      t2, 0(a5)
        slli    t3, a3, 5
        add     a3, a3, t3
        add     a3, a3, t2
        addi    a4, a4, 32
        addi    a5, a5, 8
        bltu    a4, s7, value
        # Its slot
        srli    t0, a3, 16
        xor     a3, a3, t0
        srli    t0, a3, 10
        xor     a3, a3, t0
        mv      a6, s11
look:
        and     t0, a3, s11
        sll     t0, t0, s10
        add     t0, t0, s9
        ld      t1, 0(t0)
        beqz    t1, new
        addi    t2, s0, BLOCK_VALUES
        mv      t3, t0
compare:
        ld      t4, 0(t2)
        ld      t5, 8(t3)
        bne     t4, t5, other
        addi    t2, t2, 8
        addi    t3, t3, 8
        bltu    t2, a5, compare
        addi    t1, t1, 1
        sd      t1, 0(t0)
next:
        add     s4, s4, s3
        addi    s5, s5, 64
        bltu    s5, s6, count
counted:
        ld      t0, BLOCK_ROUNDS(s0)
        addi    t0, t0, 1
        sd      t0, BLOCK_ROUNDS(s0)
        j       round

other:
        addi    a3, a3, 1
        addi    a6, a6, -1
        bgez    a6, look
        ld      t0, BLOCK_LOST(s0)
        addi    t0, t0, 1
        sd      t0, BLOCK_LOST(s0)
        j       next

new:
        addi    t2, s0, BLOCK_VALUES
        mv      t3, t0
copy:
        ld      t4, 0(t2)
        sd      t4, 8(t3)
        addi    t2, t2, 8
        addi    t3, t3, 8
        bltu    t2, a5, copy
        li      t1, 1
        sd      t1, 0(t0)
        j       next

maybe_address:                          # an address of this instance becomes the model's
        li      t4, MODEL_BASE
        addi    t5, s0, BLOCK_BASES
        ld      t6, RECORD_LOCATIONS(s1)
        li      a7, ROOM
try_location:
        beqz    t6, known
        ld      t0, 0(t5)
        add     t0, t0, s4
        sub     t0, t2, t0
        bltu    t0, a7, an_address
        addi    t5, t5, 8
        addi    t6, t6, -1
        li      t0, 1 << MODEL_STEP_EXP
        add     t4, t4, t0
        j       try_location
an_address:
        add     t2, t4, t0
        j       known

surplus:
        sd      s2, BLOCK_SEEN(s0)
done:
        fence   rw, rw
        ld      t0, BLOCK_SEEN(s0)
        sd      t0, BLOCK_DONE(s0)
        j       idle

# a0 = whose share, modulo the threads, after the role is added: its first instance in a0, the one after its last in a1
share:
        ld      t0, BLOCK_ROLE(s0)
        ld      t1, BLOCK_THREADS(s0)
        ld      t2, BLOCK_COUNT(s0)
        add     a0, a0, t0
        remu    a0, a0, t1
        addi    a1, a0, 1
        mul     a0, a0, t2
        divu    a0, a0, t1
        mul     a1, a1, t2
        divu    a1, a1, t1
        ret

barrier:
        fence   rw, rw
        ld      t0, BLOCK_EPOCH(s0)
        addi    t0, t0, 1
        sd      t0, BLOCK_EPOCH(s0)
        ld      t1, BLOCK_TEAM(s0)
        ld      t2, BLOCK_ROLE(s0)
        slli    t2, t2, 6
        add     t2, t2, t1
        sd      t0, TEAM_FLAGS(t2)
        ld      t3, BLOCK_THREADS(s0)
wait_for_hart:
        ld      t4, TEAM_FLAGS(t1)
        bltu    t4, t0, wait_for_hart
        addi    t1, t1, 64
        addi    t3, t3, -1
        bnez    t3, wait_for_hart
        fence   rw, rw
        ret
