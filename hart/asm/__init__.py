"""The assembler: from RISC-V `.S` text to a guest image.

`assemble` reads one or several sources, `Assembly` is what comes out. Encodings come from the rows of
`hart.isa`; this package holds none of its own.
"""

from hart.asm.assembler import Assembly, assemble
from hart.asm.diagnostics import AssemblyError, Diagnostic, Place
from hart.asm.layout import ListingLine

__all__ = ["Assembly", "AssemblyError", "Diagnostic", "ListingLine", "Place", "assemble"]
