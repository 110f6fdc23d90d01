"""What `--policy` says of itself. Written out, because the policies take longer to import than `--help` may take."""

POLICY_HELP = "Coherence policy: serial, inline, directory, or cas (WRONG): QEMU's, which misses A -> B -> A."
