"""What `--policy` says of itself. Written out, because the policies take longer to import than `--help` may take."""

POLICY_HELP = (
    "Coherence policy: serial, inline, or cas (WRONG), QEMU's scheme, to see A -> B -> A go unnoticed."
)
