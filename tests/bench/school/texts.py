"""What a teacher of a secondary school writes, and the pupils, and the research beside it: worksheets, exams, plans,
letters, essays, theses, articles, marks, measurements.

The words are in `words.ini`, the dice are those of `tests.bench.office`. One seed gives one text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from tests.bench.office.packages import Block, Cell, Rows, Slide
from tests.bench.office.prose import Prose
from tests.bench.office.stories import Desk

_WORDS = Path(__file__).with_name("words.ini")
_SHARES = {"de": 46, "en": 45, "fr": 9}
_CHEMICALS = (
    "H₂O", "CO₂", "NaCl", "HCl", "H₂SO₄", "NaOH", "C₆H₁₂O₆", "NH₃", "CaCO₃", "CuSO₄·5H₂O", "2H₂", "3Fe³⁺", "SO₄²⁻",
    "CH₃COOH", "KMnO₄", "Al₂O₃",
)  # fmt: skip
_PHASES = ("Einstieg", "Erarbeitung I", "Sicherung", "Vertiefung", "Warm-up", "Reading", "Plenum", "Homework")
_FORMS = ("EA", "PA", "GA", "UG", "LV", "pair work", "think-pair-share")
_KEYS = ("Species", "Plot", "Treatment", "Site", "Observer", "Block")
_MEASURES = (
    "pH",
    "moisture",
    "temp_c",
    "biomass_g",
    "cover_pct",
    "n_total",
    "c_n",
    "depth_cm",
    "light_par",
    "co2_flux",
)


class SchoolProse(Prose):
    """Sentences with what schools and journals put between words: formulas, blanks, decimals, citations. Besides the
    sorts that English knows, all but Ukrainian know `task`, and English and German `lesson`."""

    def __init__(self, dice: random.Random, language: str) -> None:
        super().__init__(dice, language, _WORDS)
        self._made = {
            **self._made,
            "dec": lambda: self._decimal(dice.lognormvariate(1.5, 1.6)),
            "var": lambda: dice.choice(
                ("x", "y", "a", "b", "c(NaOH)", "U", "I", "R", "v", "t", "s", "F", "m", "α", "n")
            ),
            "eq": self._equation,
            "blank": lambda: "_" * dice.randint(6, 22),
            "chem": lambda: dice.choice(_CHEMICALS),
            "cite": self.cited,
        }

    def cited(self) -> str:
        """Who said it."""
        first, second = self._expand("last"), self._expand("last")
        others = self.dice.choice(("", f" & {second}", " et al."))
        return f"{first}{others} {self.dice.randint(1962, 2026)}"

    def source(self) -> str:
        """An entry of a list of literature."""
        dice = self.dice
        names = "; ".join(f"{self._expand('last')}, {self._expand('given')[0]}." for _ in range(dice.randint(1, 5)))
        first = dice.randint(1, 2400)
        doi = f"https://doi.org/10.{dice.randint(1000, 9999)}/j.{dice.getrandbits(28):x}.{dice.randint(1990, 2026)}"
        where = f"{self.title()}. J. {self.word().title()} Res. {dice.randint(2, 140)}({dice.randint(1, 12)})"
        return f"{names} ({dice.randint(1962, 2026)}): {self.title()}. {where}, {first}–{first + 11}. {doi}"

    def place(self) -> str:
        """A town."""
        return self._expand("place")

    def _decimal(self, value: float) -> str:
        text = f"{value:.{self.dice.randint(1, 3)}f}"
        return text if self.language == "en" else text.replace(".", ",")

    def _equation(self) -> str:
        a, b, c = (self.dice.randint(2, 40) for _ in range(3))
        forms = (
            f"{a}x + {b} = {c} − x", f"x² − {a}x + {b} = 0", f"f(x) = {a}x³ − {b}x", f"({a}x − {b})({c} + x)",
            f"U = R · I = {a} Ω · {b} A", f"s = ½ · {a} m/s² · t²", f"{a}/{b} + {c}/{a} = ", f"sin({a}°) = {c}/x",
            f"∫₀^{a} (x² + {b}) dx", f"log₂({a}x) = {b}", f"P(X ≤ {a}) = 0,{b}{c}", f"√({a}² + {b}²) ≈ ",
        )  # fmt: skip
        return self.dice.choice(forms)


class Teacher(Desk):
    """Somebody at a school writes one thing, in one language."""

    def __init__(self, dice: random.Random, language: str = "") -> None:
        super().__init__(dice)
        self.prose: SchoolProse = SchoolProse(dice, language or dice.choices([*_SHARES], [*_SHARES.values()])[0])

    def worksheet(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Tasks with blanks and lines to write on; a text to read before them in every third."""
        prose, dice = self.prose, self.dice
        head = (
            f"Name: {'_' * 24}   {dice.choice(('Klasse', 'Class', 'Kurs'))}: {dice.randint(5, 13)}{dice.choice('abc')}"
        )
        blocks = [Block("p", f"{head}   {'_' * 10}"), Block("h1", prose.title())]
        if dice.random() < 0.35:
            blocks += self._paragraphs(dice.choice(("lesson", "article")), self.many(3, 12), 7)
        for number in range(1, self.many(4, 18, 0.5) + 1):
            blocks.append(Block(dice.choice(("h2", "p")), f"{number}. {prose.sentence('task')}"))
            blocks += [
                Block("li", f"{'abcdefgh'[at]}) {prose.sentence('task')}") for at in range(dice.choice((0, 0, 2, 3, 5)))
            ]
            if dice.random() < 0.3:
                blocks += [Block("p", dice.choice("._") * dice.randint(60, 90))] * dice.randint(2, 6)
            if dice.random() < 0.15:
                blocks.append(Block("table", rows=self._grid(dice.randint(2, 5), dice.randint(3, 8))))
            if pictures and dice.random() < 0.35:
                blocks.append(Block("picture", picture=pictures()))
        return blocks

    def exam(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Tasks with materials, and what is expected for how many points."""
        prose, dice, tasks = self.prose, self.dice, self.many(5, 12, 0.4)
        points: Rows = [["", *range(1, tasks + 1), "∑"], ["max.", *(dice.randint(3, 24) for _ in range(tasks)), 100]]
        blocks = [
            Block("h1", prose.title()),
            Block("p", f"{prose.day()}  Name: {'_' * 30}"),
            Block("table", rows=points),
        ]
        for number in range(1, tasks + 1):
            blocks += [
                Block("h2", f"{number} {prose.title()} ({dice.randint(3, 24)} P.)"),
                Block("p", prose.sentence("task")),
            ]
            blocks += [Block("li", prose.sentence("task")) for _ in range(dice.randint(0, 4))]
            if dice.random() < 0.45:
                blocks += [
                    Block("p", f"M{number}"),
                    *self._paragraphs(dice.choice(("lesson", "article", "report")), 2, 8),
                ]
            if pictures and dice.random() < 0.3:
                blocks.append(Block("picture", picture=pictures()))
        if dice.random() < 0.5:
            rows: Rows = [
                [number, prose.paragraph("lesson", 3), dice.randint(2, 9), ""] for number in range(1, tasks * 2)
            ]
            blocks += [Block("h1", "Erwartungshorizont"), Block("table", rows=rows)]
        return blocks

    def plan(self) -> list[Block]:
        """A lesson in its phases, or a term in its weeks: a table, in a quarter of them behind pages of thoughts."""
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Zeit", "Phase", "Inhalt", "Form", "Medien"]]
        for number in range(self.many(9, 40, 0.6)):
            what = prose.paragraph("task" if dice.random() < 0.4 else "lesson", 3)
            rows.append([f"{number * 7}'", dice.choice(_PHASES), what, dice.choice(_FORMS), prose.title()])
        aims = [Block("li", prose.sentence("lesson")) for _ in range(dice.randint(1, 6))]
        thoughts = (
            self._chapters(self.many(4, 14), "report", 3) if dice.random() < 0.25 else [Block("h1", prose.title())]
        )
        return [*thoughts, Block("p", prose.day()), *aims, Block("table", rows=rows)]

    def letter(self) -> list[Block]:
        """To parents, with a slip to be torn off in every third."""
        prose, dice = self.prose, self.dice
        slip = f"{'- ' * 40}\n{prose.person()} {'_' * 20}\n{prose.sentence('letter')}\n{'_' * 30}"
        said = [prose.day(), prose.title(), *(prose.paragraph("letter", 5) for _ in range(self.many(3, 12, 0.5)))]
        said += [prose.person(), *(slip.split("\n") if dice.random() < 0.35 else [])]
        return [Block("p", text) for text in said]

    def minutes(self) -> list[Block]:
        prose = self.prose
        present = ", ".join(prose.person() for _ in range(self.dice.randint(5, 24)))
        blocks = [Block("h1", f"{prose.title()}, {prose.day()}"), Block("p", present)]
        for number in range(1, self.many(6, 14, 0.4) + 1):
            blocks += [Block("h2", f"TOP {number} {prose.title()}"), *self._paragraphs("minutes", 1, 6)]
        return blocks

    def essay(self) -> list[Block]:
        """A pupil's, from half a page to a term paper."""
        blocks = [Block("p", f"{self.prose.person()}, {self.prose.day()}"), Block("h1", self.prose.title())]
        return blocks + self._paragraphs("article", self.many(5, 60, 0.8), 9)

    def handout(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        return self._chapters(self.many(3, 14), "lesson", 3, pictures)

    def article(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Of a journal: summary, sections, tables, literature."""
        blocks = self._chapters(self.many(9, 26, 0.45), "report", 7, pictures)
        return [
            *blocks,
            Block("h1", "References"),
            *(Block("p", self.prose.source()) for _ in range(self.many(38, 160))),
        ]

    def thesis(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Chapters of a dissertation, or all of it."""
        chapters = self._chapters(self.many(48, 95, 0.5), "report", 11, pictures)
        return [*chapters, *(Block("li", self.prose.source()) for _ in range(self.many(110, 420, 0.5)))]

    def handbook(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """A curriculum, a guide to an exam: long, in lists and tables."""
        blocks = self._chapters(self.many(24, 110, 0.8), "lesson", 4, pictures)
        tables = [Block("table", rows=self._grid(4, self.dice.randint(8, 40))) for _ in range(self.many(4, 20))]
        return [*blocks, *tables]

    def note(self) -> list[Block]:
        dice, prose = self.dice, self.prose
        return [Block(dice.choice(("p", "li")), prose.sentence("note")) for _ in range(self.many(9, 250, 1.1))]

    def receipt(self) -> list[Block]:
        """What a shop or a hostel sends."""
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Pos.", "Artikel", "Anz.", "EUR"]]
        rows += [
            [at, prose.title(), dice.randint(1, 32), dice.lognormvariate(2.6, 1)] for at in range(1, self.many(4, 40))
        ]
        head = [prose.firm(), prose.place(), f"Nr. {dice.getrandbits(30)}", prose.day()]
        end = [Block("p", f"Summe {prose.sum()}"), Block("p", f"{prose.phone()} {prose.mail_address()}")]
        return [*(Block("p", line) for line in head), Block("table", rows=rows), *end]

    def slides(self, pictures: Callable[[], bytes] | None = None) -> list[Slide]:
        dice, prose, shown, sort = self.dice, self.prose, list[Slide](), self.dice.choice(("lesson", "report", "task"))
        noted = dice.random() < 0.2
        for _ in range(self.many(16, 90, 0.6)):
            lines = [prose.sentence(dice.choice((sort, "note"))) for _ in range(dice.choice((0, 1, 2, 3, 4, 5, 7)))]
            picture = pictures() if pictures and dice.random() < 0.5 else b""
            shown.append(Slide(prose.title(), lines, prose.paragraph(sort, 5) if noted else "", picture))
        return shown

    def sheets(self) -> Mapping[str, Rows]:
        """Marks of one class or of all, lists, costs of a journey, or what was measured."""
        table = self.dice.choices((self.marks, self.pupils, self.costs, self.data), (45, 25, 14, 16))[0]
        if table != self.marks or self.dice.random() < 0.4:
            return {self.dice.choice(("Tabelle1", "Sheet1", "Liste", "Daten")): table()}
        return {
            f"{self.dice.randint(5, 13)}{letter} {number}": table()
            for number, letter in enumerate("abcdefgh"[: self.dice.randint(2, 8)])
        }

    def marks(self) -> Rows:
        """A class: mostly marks, each a digit, and their mean."""
        dice, prose, tests = self.dice, self.prose, self.dice.randint(4, 22)
        rows: list[list[Cell]] = [["Name", "Vorname", *(prose.moment() for _ in range(tests)), "Ø", "Bemerkung"]]
        for number in range(2, dice.randint(16, 33)):
            given, last = prose.person().split()
            marks: list[Cell] = [
                dice.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 2.5, None, "krank", "1-")) for _ in range(tests)
            ]
            mean = (f"AVERAGE(C{number}:Z{number})", round(dice.uniform(1.2, 4.9), 6))
            rows.append([last, given, *marks, mean, prose.sentence("note") if dice.random() < 0.2 else None])
        return rows

    def pupils(self) -> Rows:
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Nr", "Name", "Geb.", "Klasse", "Telefon", "E-Mail", "Religion", "bezahlt"]]
        for number in range(1, self.many(30, 900, 0.9)):
            where = f"{dice.randint(5, 13)}{dice.choice('abcd')}"
            paid = dice.choice(("x", None, "ja"))
            reached = (prose.phone(), prose.mail_address()) if dice.random() < 0.8 else (None, None)
            rows.append([number, prose.person(), prose.moment(), where, *reached, dice.choice(("ev", "rk", "-")), paid])
        return rows

    def costs(self) -> Rows:
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Was", "pro Person", "Anzahl", "Summe", "bezahlt am"]]
        for number in range(2, self.many(14, 90)):
            price, many = round(dice.lognormvariate(2.5, 1), 2), dice.randint(1, 58)
            rows.append([prose.title(), price, many, (f"B{number}*C{number}", price * many), prose.moment()])
        return rows

    def data(self, usual: float = 220, most: int = 6000) -> Rows:
        """Measurements: few words, many decimals, some missing."""
        dice, day = self.dice, self.prose.moment()
        keys, names = dice.sample(_KEYS, dice.randint(1, 3)), dice.sample(_MEASURES, dice.randint(2, 9))
        levels = {key: [self.prose.word().split()[0] for _ in range(6)] for key in keys}
        rounds = [dice.choice((1, 2, 3, 14)) for _ in names]
        rows: list[list[Cell]] = [["date", *keys, *names]]
        for _ in range(self.many(usual, most, 1.2)):
            day += timedelta(dice.choice((0, 0, 0, 1)))
            values = [None if dice.random() < 0.04 else f"{dice.lognormvariate(1, 1):.{digits}f}" for digits in rounds]
            rows.append([day, *(dice.choice(levels[key]) for key in keys), *(float(v) if v else "NA" for v in values)])
        return rows

    def _chapters(self, many: int, sort: str, usual: float, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        prose, dice = self.prose, self.dice
        blocks = [Block("h1", prose.title()), Block("p", f"{prose.person()}, {prose.firm()}, {prose.place()}")]
        for number in range(1, many + 1):
            blocks.append(Block("h2" if number % 4 else "h1", f"{number} {prose.title()}"))
            blocks += self._paragraphs(sort, self.many(usual * 0.7, 30, 0.5), 8)
            blocks += [Block("li", prose.sentence(sort)) for _ in range(dice.choice((0, 0, 0, 3, 6)))]
            if dice.random() < 0.16:
                blocks.append(Block("table", rows=self._grid(dice.randint(3, 7), dice.randint(4, 14))))
            if pictures and dice.random() < 0.3:
                blocks.append(Block("picture", picture=pictures()))
        return blocks

    def _paragraphs(self, sort: str, many: int, most: int) -> list[Block]:
        return [Block("p", self.prose.paragraph(sort, most)) for _ in range(many)]

    def _grid(self, columns: int, rows: int) -> Rows:
        dice, prose = self.dice, self.prose
        head: list[Cell] = [prose.word() for _ in range(columns)]
        cells = (lambda: "", prose.word, prose.title, lambda: round(dice.gauss(12, 6), 2), lambda: dice.randint(0, 99))
        return [head, *([dice.choice(cells)() for _ in range(columns)] for _ in range(rows))]
