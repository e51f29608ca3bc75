"""The answer as a LaTeX fragment: tables in the manner of booktabs, captions that say how the numbers were made.

Plain LaTeX that pdflatex compiles, whatever a user called things.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from . import brief, reading

HEAD = (
    "% Written by dopant. Needs in the preamble:",
    "% \\usepackage[T1]{fontenc} \\usepackage[utf8]{inputenc} \\usepackage{booktabs,longtable,graphicx,array}",
)
FIGURE = (
    "Intervals, where drawn, are each for itself, not corrected, many of means that are not paired: see the tables."
)
LONG = 24  # rows from which a table may break over pages
UNBROKEN = 18  # letters after which a name may break

_ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": "{`}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
_SIGNS = {
    "\u2212": "$-$", "\u202f": r"\,", "\u2009": r"\,", "\u00a0": "~", "\u2013": "{--}", "\u2014": "{---}",
    "\u2018": "{`}", "\u2019": "{'}", "\u201c": "{``}", "\u201d": "{''}", "\u2026": r"\ldots{}", "×": r"$\times$",
    "±": r"$\pm$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "≈": r"$\approx$",
    "∞": r"$\infty$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "°": r"$^{\circ}$", "²": "$^{2}$", "³": "$^{3}$",
    "µ": r"$\mu$", "√": r"$\surd$", "∈": r"$\in$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "†": r"$\dagger$",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c", "\u0331": "b",
}  # fmt: skip


def fragment(answer: Any, figures: Sequence[tuple[str, str]]) -> str:
    """The text of report.tex, to be read by \\input. figures: (path as LaTeX shall find it, caption) of each."""
    name = escaped(getattr(answer, "name", "") or "Analysis of a table")
    lines = [*HEAD, "", rf"\paragraph{{{name}}} {escaped(getattr(answer, 'question', ''))}", ""]
    lines += [r"\begin{itemize}", *[rf"\item {escaped(v)}" for v in answer.verdicts], r"\end{itemize}", ""] * bool(
        answer.verdicts
    )
    how = " ".join(map(escaped, brief.how(answer)))
    published = " The test set was read every epoch." if reading.reads_test_set(answer) else ""
    for number, sheet in enumerate(brief.effects(answer), 1):
        lines += [*table(sheet, f"{escaped(sheet.title)}. {how}{published}", f"tab:dopant-effects-{number}"), ""]
    costs = brief.costs(answer)
    if costs is not None:
        caption = (
            f"{escaped(costs.title)}. Scores: mean and SD over n finished trials. FLOPs and times are of what was "
        )
        caption += "computed here; of circuits that is their simulation."
        lines += [*table(costs, caption, "tab:dopant-costs"), ""]
    for number, (path, caption) in enumerate(figures, 1):
        # only the forest plots draw the paired intervals of which `how` speaks
        said = how if caption.startswith("Differences in ") else FIGURE
        lines += [
            r"\begin{figure}[htbp]", r"\centering", rf"\includegraphics[width=\linewidth]{{{path}}}",
            rf"\caption{{{escaped(caption)}. {said}}}", rf"\label{{fig:dopant-{number}}}", r"\end{figure}", "",
        ]  # fmt: skip
    limits = [rf"\item {escaped(s)}" for s in reading.limits(answer)]
    if limits:
        lines += [r"\paragraph{What cannot be concluded}", r"\begin{itemize}", *limits, r"\end{itemize}", ""]
    return "\n".join(lines)


def table(sheet: brief.Sheet, caption: str, label: str) -> list[str]:
    """One booktabs table; long ones break over pages."""
    texts = sum(not n for n in sheet.numeric)
    width = f"{min(0.3, 0.62 / max(1, texts)):.2f}\\linewidth"
    columns = "".join("r" if n else rf">{{\raggedright\arraybackslash}}p{{{width}}}" for n in sheet.numeric)
    head = [" & ".join(map(escaped, sheet.headers)) + r" \\"]
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in sheet.rows]
    if len(rows) > LONG:
        return [
            r"{\small", rf"\begin{{longtable}}{{{columns}}}", rf"\caption{{{caption}}}\label{{{label}}}\\", r"\toprule",
            *head, r"\midrule", r"\endhead", *rows, r"\bottomrule", r"\end{longtable}}",
        ]  # fmt: skip
    return [
        r"\begin{table}[htbp]", r"\centering\small", rf"\caption{{{caption}}}", rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}",
        r"\end{table}",
    ]  # fmt: skip


def escaped(text: Any) -> str:
    """A text on one line that LaTeX prints as it is; a letter that its usual fonts lack is named by its number."""
    return " ".join(_word(word) for word in brief.one_line(text).split(" "))


def _word(word: str) -> str:
    """A word; a long one may break after its signs, or where it has none."""
    found, unbroken, before = [], 0, ""
    letters = _joined(word)
    for letter in letters:
        said = _letter(letter)
        found.append(f"{{{said}}}" if said == before and said in "-'," else said)  # no ligature
        before = said
        unbroken += 1
        if len(letters) > UNBROKEN and (unbroken >= UNBROKEN or letter[0] in "=,:/_-+"):
            found.append(r"\allowbreak{}")
            unbroken, before = 0, ""
    return "".join(found)


def _joined(text: str) -> list[str]:
    """Letters with the combining marks that follow them."""
    found: list[str] = []
    for sign in unicodedata.normalize("NFD", text):
        if unicodedata.combining(sign) and found:
            found[-1] += sign
        else:
            found.append(sign)
    return found


def _letter(letter: str) -> str:
    base, marks = letter[0], letter[1:]
    if base in _SIGNS:
        said = _SIGNS[base]
    elif base in _GREEK:
        said = rf"$\{_GREEK[base]}$"
    elif base in _ASCII:
        said = _ASCII[base]
    elif base.isascii() and base.isprintable():
        said = base
    else:
        return "".join(rf"\texttt{{U+{ord(one):04X}}}" for one in letter)
    for mark in marks:
        if mark in _ACCENTS and base.isascii() and base.isalpha():
            said = rf"\{_ACCENTS[mark]}{{{said}}}"
        else:
            said += rf"\texttt{{U+{ord(mark):04X}}}"
    return said
