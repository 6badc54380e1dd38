"""Print who answers for each recording."""

from tests.recorded.complete import entries

if __name__ == "__main__":
    table = entries()
    for entry in table:
        print(f"{entry.name:65} {entry.by_whom:20} {entry.reason}".rstrip())
    for who in sorted({entry.by_whom for entry in table}):
        print(f"{sum(entry.by_whom == who for entry in table):4} {who}")
