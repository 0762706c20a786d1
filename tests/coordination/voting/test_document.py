"""The page on voting tells of the rules what the code says of them."""

from pathlib import Path

from coordination.voting import KEMENY_LIMIT, RULES

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "voting.md").read_text()


def test_the_table_of_rules_is_that_of_the_code() -> None:
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in TEXT.splitlines()]
    told = [row for row in rows if len(row) == 7 and row[0] in RULES]
    known = [
        [
            kind.name,
            *("yes" if promised else "no" for promised in (kind.condorcet, kind.majority, kind.monotone)),
            *("yes" if promised else "no" for promised in (kind.clone_proof, kind.reversal)),
            kind.cost,
        ]
        for kind in RULES.values()
    ]
    assert told == known


def test_the_limit_of_kemeny_is_told() -> None:
    assert f"refuses more than {KEMENY_LIMIT} candidates" in " ".join(TEXT.split())
