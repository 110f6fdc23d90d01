"""The bus floor: guest memory in shared memory, reservations and AMO order. Knows no instructions."""
