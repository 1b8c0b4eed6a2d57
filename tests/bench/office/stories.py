"""What a small firm and the household behind it write: letters, minutes, contracts, manuals, reports, invoices, tables.

Lengths have a long tail: most are a page or two, some a few dozen. One seed gives one text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta

from tests.bench.office.packages import Block, Cell, Rows, Slide
from tests.bench.office.prose import Prose

_SHARES = {"en": 72, "de": 14, "fr": 8, "es": 6}
_GREETINGS = {"en": "Dear", "de": "Guten Tag", "fr": "Bonjour", "es": "Estimado/a"}
_CLOSINGS = {
    "en": "Yours sincerely,",
    "de": "Mit freundlichen Grüßen",
    "fr": "Cordialement,",
    "es": "Un cordial saludo,",
}
_INVOICE = {
    "en": ("Invoice", "Description", "Quantity", "Unit price", "Amount", "Net", "VAT", "Total", "Please pay within"),
    "de": ("Rechnung", "Bezeichnung", "Menge", "Einzelpreis", "Betrag", "Netto", "USt.", "Gesamt", "Zahlbar binnen"),
    "fr": ("Facture", "Désignation", "Quantité", "Prix unitaire", "Montant", "HT", "TVA", "TTC", "À régler sous"),
    "es": ("Factura", "Descripción", "Cantidad", "Precio", "Importe", "Base", "IVA", "Total", "A pagar en"),
}


class Desk:
    """Somebody writes one thing, in one language. `prose` makes the sentences; `dice` decides everything."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.prose = Prose(dice, dice.choices([*_SHARES], [*_SHARES.values()])[0])

    def many(self, usual: float, most: int, spread: float = 0.7) -> int:
        """A number that is often near `usual`, seldom far above it, never above `most`."""
        return max(1, min(most, round(usual * self.dice.lognormvariate(0, spread))))

    def letter(self) -> list[Block]:
        prose = self.prose
        head = [f"{prose.firm()}\n{prose.street()}", f"{prose.person()}\n{prose.street()}", prose.day()]
        lines = [line for text in head for line in text.split("\n")]
        body = [prose.paragraph("letter", 6) for _ in range(self.many(4, 25))]
        name = prose.person().split()[0]
        greeting = f"{_GREETINGS[prose.language]} {name},"
        said = [*lines, prose.title(), greeting, *body, _CLOSINGS[prose.language], prose.person()]
        return [Block("p", text) for text in said]

    def minutes(self) -> list[Block]:
        prose = self.prose
        blocks = [Block("h1", prose.title()), Block("p", f"{prose.day()}, {prose.title()}")]
        blocks += [Block("p", ", ".join(prose.person() for _ in range(self.dice.randint(4, 14))))]
        for number in range(1, self.many(6, 20) + 1):
            blocks += [Block("h2", f"{number}. {prose.title()}"), Block("p", prose.paragraph("minutes", 6))]
            blocks += [Block("li", prose.sentence("minutes")) for _ in range(self.dice.randint(0, 4))]
        return blocks

    def contract(self) -> list[Block]:
        prose = self.prose
        parties = f"{prose.firm()} ({prose.street()})".replace("\n", ", "), prose.person()
        blocks = [Block("h1", prose.title()), *(Block("p", f"({n}) {party}") for n, party in enumerate(parties, 1))]
        for number in range(1, self.many(14, 60, 0.5) + 1):
            blocks.append(Block("h2", f"{number} {prose.title()}"))
            blocks += [
                Block("p", f"{number}.{below} {prose.paragraph('contract', 4)}")
                for below in range(1, self.dice.randint(2, 6))
            ]
        return [*blocks, Block("p", f"{prose.day()}, {prose.person()} ____________  {prose.person()} ____________")]

    def manual(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Steps, warnings and parts; with drawings of the parts where there are some."""
        prose = self.prose
        blocks = [Block("h1", f"{prose.title()} {prose.code()}")]
        for chapter in range(1, self.many(14, 70) + 1):
            blocks.append(Block("h1", f"{chapter} {prose.title()}"))
            for below in range(1, self.dice.randint(2, 5)):
                blocks += [Block("h2", f"{chapter}.{below} {prose.title()}"), Block("p", prose.paragraph("manual", 6))]
                blocks += [Block("li", prose.sentence("manual")) for _ in range(self.dice.randint(2, 9))]
            if self.dice.random() < 0.35:
                blocks.append(Block("table", rows=self.parts()))
            if pictures and self.dice.random() < 0.6:
                blocks.append(Block("picture", picture=pictures()))
        return blocks

    def report(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Sections with tables here and there, and pictures where there are some."""
        return self._sections("report", 5, pictures)

    def article(self, pictures: Callable[[], bytes] | None = None) -> list[Block]:
        """Longer thoughts, hardly any numbers."""
        return self._sections("article", 5, pictures)

    def note(self) -> list[Block]:
        """What somebody wrote down in a minute, or over weeks."""
        prose, sort = self.prose, self.dice.choice(("note", "note", "article", "letter"))
        blocks = [Block("h1", prose.title())] if self.dice.random() < 0.6 else []
        for _ in range(self.many(5, 120, 1.0)):
            kind = self.dice.choice(("p", "li", "li")) if sort == "note" else "p"
            blocks.append(Block(kind, prose.sentence("note") if kind == "li" else prose.paragraph(sort, 4)))
        return blocks

    def invoice(self, lines: int = 5) -> list[Block]:
        """About so many items and what they come to."""
        prose, words = self.prose, _INVOICE[self.prose.language]
        number = f"{self.dice.randint(2016, 2026)}-{self.dice.randint(1, 99999):05}"
        blocks = [Block("h1", prose.firm()), *(Block("p", line) for line in prose.street().split("\n"))]
        blocks += [Block("p", line) for line in f"{prose.person()}\n{prose.street()}".split("\n")]
        blocks += [Block("h2", f"{words[0]} {number}"), Block("p", prose.day())]
        rows: list[list[Cell]] = [["", *words[1:5]]]
        net = 0.0
        for at in range(1, self.many(lines, 300, 0.8) + 1):
            count, price = self.dice.randint(1, 40), round(self.dice.lognormvariate(3, 1.2), 2)
            net += count * price
            rows.append([at, f"{prose.code()} {prose.title()}"[:60], count, price, round(count * price, 2)])
        rows += [["", "", "", words[5], net], ["", "", "", words[6], net * 0.2], ["", "", "", words[7], net * 1.2]]
        iban = f"GB{self.dice.randint(10, 99)} BANK {self.dice.randint(10**7, 10**8)} {self.dice.randint(10**5, 10**6)}"
        end = f"{words[8]} {self.dice.choice((7, 14, 30))}. IBAN {iban}. {prose.mail_address()}, {prose.phone()}"
        return [*blocks, Block("table", rows=rows), Block("p", end), Block("p", prose.sentence("letter"))]

    def recipe(self) -> list[Block]:
        prose = self.prose
        things = [
            f"{self.dice.randint(1, 900)} {self.dice.choice(('g', 'ml', 'tsp', 'x'))} {prose.word()}" for _ in range(9)
        ]
        steps = [Block("p", prose.paragraph("manual", 4)) for _ in range(self.many(4, 12))]
        return [
            Block("h1", prose.title()),
            *(Block("li", thing) for thing in things),
            Block("h2", prose.title()),
            *steps,
        ]

    def slides(self, pictures: Callable[[], bytes] | None = None) -> list[Slide]:
        prose, sort = self.prose, self.dice.choice(("article", "report", "manual"))
        shown, noted = [], self.dice.random() < 0.35
        for _ in range(self.many(12, 60, 0.5)):
            lines = [
                prose.sentence("note" if self.dice.random() < 0.6 else sort) for _ in range(self.dice.randint(1, 6))
            ]
            notes = prose.paragraph(sort, 6) if noted and self.dice.random() < 0.7 else ""
            picture = pictures() if pictures and self.dice.random() < 0.35 else b""
            shown.append(Slide(prose.title(), lines, notes, picture))
        return shown

    def parts(self) -> Rows:
        """A list of parts, or of what is measured."""
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [[prose.word().title() for _ in range(4)]]
        rows += [
            [prose.code(), prose.title(), dice.randint(1, 500), round(dice.uniform(0.2, 900), 1)]
            for _ in range(self.many(9, 60))
        ]
        return rows

    def sheets(self) -> Mapping[str, Rows]:
        """A workbook: one table, or one for each month or year."""
        table = self.dice.choice((self.cash_book, self.stock, self.rota, self.measured, self.addresses, self.budget))
        if self.dice.random() < 0.55:
            return {"Sheet1" if self.dice.random() < 0.5 else self.prose.title()[:28]: table()}
        first = self.dice.randint(2012, 2018)
        return {str(first + number): table() for number in range(self.dice.randint(2, 12))}

    def cash_book(self) -> Rows:
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Date", "No.", "What for", "Who", "In", "Out", "Balance", "Remark"]]
        day, balance = prose.moment(), round(dice.uniform(0, 9000), 2)
        for number in range(2, self.many(70, 2500, 1.0) + 2):
            day += timedelta(dice.randint(0, 6))
            amount = round(dice.lognormvariate(4, 1.4), 2)
            earned = dice.random() < 0.4
            balance += amount if earned else -amount
            into: list[Cell] = [amount, None] if earned else [None, amount]
            remark = prose.sentence("note") if dice.random() < 0.15 else None
            book: Cell = (f"G{number - 1}+E{number}-F{number}", balance)
            rows.append(
                [day, number - 1, prose.title(), prose.person() if dice.random() < 0.6 else None, *into, book, remark]
            )
        return rows

    def stock(self) -> Rows:
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["Code", "Item", "Supplier", "Stock", "Minimum", "Price", "Value"]]
        for number in range(2, self.many(60, 1500, 0.9) + 2):
            count, price = dice.randint(0, 400), round(dice.lognormvariate(2.5, 1.3), 2)
            value: Cell = (f"D{number}*F{number}", count * price)
            rows.append([prose.code(), prose.title(), prose.firm(), count, dice.randint(0, 50), price, value])
        return rows

    def rota(self) -> Rows:
        prose, dice = self.prose, self.dice
        names = [prose.person().split()[0] for _ in range(dice.randint(3, 12))]
        rows: list[list[Cell]] = [["Week", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]]
        rows += [[week, *(dice.choice([*names, None]) for _ in range(6))] for week in range(1, dice.randint(6, 53))]
        return rows

    def measured(self) -> Rows:
        dice, day = self.dice, self.prose.moment()
        rows: list[list[Cell]] = [["Day", *(self.prose.word() for _ in range(dice.randint(2, 8)))]]
        many = len(rows[0]) - 1
        for _ in range(self.many(120, 3000, 1.0)):
            day += timedelta(1)
            rows.append(
                [day, *(dice.gauss(20, 6) if dice.random() < 0.3 else round(dice.gauss(20, 6), 1) for _ in range(many))]
            )
        return rows

    def addresses(self) -> Rows:
        prose = self.prose
        rows: list[list[Cell]] = [["Name", "Street", "Town", "Telephone", "Mail", "Since", "Remark"]]
        for _ in range(self.many(45, 600)):
            street, place = prose.street().split("\n")[:2]
            remark = prose.sentence("note") if self.dice.random() < 0.25 else None
            rows.append([prose.person(), street, place, prose.phone(), prose.mail_address(), prose.moment(), remark])
        return rows

    def budget(self) -> Rows:
        prose, dice = self.prose, self.dice
        rows: list[list[Cell]] = [["", *(f"{month:02}" for month in range(1, 13)), "Sum"]]
        for number in range(2, dice.randint(8, 45)):
            usual = dice.lognormvariate(5, 1)
            values = [round(usual * dice.uniform(0.7, 1.3)) for _ in range(12)]
            rows.append([prose.title(), *values, (f"SUM(B{number}:M{number})", sum(values))])
        return rows

    def _sections(self, sort: str, usual: float, pictures: Callable[[], bytes] | None) -> list[Block]:
        prose = self.prose
        blocks = [Block("h1", prose.title()), Block("p", f"{prose.person()}, {prose.day()}")]
        for _ in range(self.many(usual, 40)):
            blocks.append(Block("h2", prose.title()))
            blocks += [Block("p", prose.paragraph(sort, 8)) for _ in range(self.dice.randint(2, 6))]
            if sort == "report" and self.dice.random() < 0.3:
                blocks.append(Block("table", rows=self.parts()))
            if pictures and self.dice.random() < 0.4:
                blocks.append(Block("picture", picture=pictures()))
        return blocks


def serial(day: date) -> str:
    """A day as programs write it."""
    return day.strftime("%Y%m%d")
