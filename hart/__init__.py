"""The hart floor: the ISA, its execution, guest environments and the hart process. Knows no configs."""
