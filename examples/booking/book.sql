-- The book of a small restaurant, as it is on its first day.

CREATE TABLE tables (
    number INTEGER PRIMARY KEY,
    seats INTEGER NOT NULL
);

-- Times that are taken every day, and by whom.
CREATE TABLE taken (
    time TEXT PRIMARY KEY,
    by TEXT NOT NULL
);

-- One row for each key, whatever happens: who books twice with one key has one table.
CREATE TABLE bookings (
    key TEXT PRIMARY KEY,
    table_number INTEGER NOT NULL REFERENCES tables,
    guests INTEGER NOT NULL,
    day TEXT NOT NULL,
    time TEXT NOT NULL,
    cancelled_with TEXT UNIQUE
);

-- A table is given away once.
CREATE UNIQUE INDEX kept ON bookings (day, time, table_number) WHERE cancelled_with IS NULL;

CREATE TABLE wishes (
    key TEXT PRIMARY KEY,
    guest TEXT NOT NULL,
    wish TEXT NOT NULL
);

INSERT INTO tables VALUES (1, 2), (2, 2), (3, 4), (4, 4), (5, 6), (6, 12);
INSERT INTO taken VALUES ('21:00', 'the wine club');

PRAGMA user_version = 1;
