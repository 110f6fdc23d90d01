"""The disassembler: instruction words as assembly text.

Owns the text of one instruction: mnemonic and operands without pseudo-instructions, as LLVM's assembler takes
them. What text cannot say is written as data, so that assembling the text always gives the word back.
"""

from __future__ import annotations

from hart.isa import EXTENSIONS
from hart.isa.decoder import Decoded, Decoder, instruction_length
from hart.isa.syntax import Symbolize, format_operands, mnemonic, template_fields

_ALL = Decoder(EXTENSIONS)


def disassemble(
    word: int, pc: int | None = None, *, decoder: Decoder = _ALL, symbolize: Symbolize | None = None
) -> str:
    """One instruction as text, e.g. `amoadd.w.aqrl a0, a1, (a2)`.

    An illegal word becomes `.2byte` or `.4byte`; so does a legal one that has bits set in ignored fields, its
    mnemonic then a comment.

    Args:
        word: the instruction in the low 16 or 32 bits.
        pc: its address; without it jump targets are written as `. + 16`.
        decoder: says which words are legal; all extensions without it.
        symbolize: writes the address of a jump target; in hexadecimal without it.

    """
    decoded = decoder.decode(word)
    if decoded is None:
        length = instruction_length(word)
        return _data(word & ((1 << 8 * length) - 1), length)
    name = mnemonic(decoded.row, decoded.fields)
    if _hides_bits(decoded):
        return f"{_data(decoded.word, decoded.length)}  # {name}, ignored fields set"
    operands = format_operands(decoded.row, decoded.fields, pc, symbolize)
    return f"{name} {operands}" if operands else name


def describe(word: int, pc: int, *, decoder: Decoder, symbolize: Symbolize | None = None) -> str:
    """As `disassemble`, but an instruction of an extension that `decoder` lacks is written out, with what it needs.

    For reports: `amoadd.b zero, t1, (s1): needs Zabha`.
    """
    known = _ALL.decode(word) if decoder.decode(word) is None else None
    if known is None:
        return disassemble(word, pc, decoder=decoder, symbolize=symbolize)
    missing = " and ".join(e for e in known.row.extensions if e not in decoder.extensions)
    return f"{disassemble(word, pc, symbolize=symbolize)}: needs {missing}"


def _data(word: int, length: int) -> str:
    return f".{length}byte {word:#0{2 + 2 * length}x}"


def _hides_bits(decoded: Decoded) -> bool:
    shown = template_fields(decoded.row.template)
    return any(v for f, v in decoded.fields.items() if f not in shown and f != "order")
