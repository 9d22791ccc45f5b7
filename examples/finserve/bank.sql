-- The bank of the example: its clients, what can be bought there, and who holds what.
-- People, firms and funds are invented.  Ratios and returns are in hundredths of a percent, money
-- in cents, so that nothing is rounded before it is shown.

BEGIN;

CREATE TABLE clients (
    login TEXT PRIMARY KEY,         -- the principal of the session
    name TEXT NOT NULL,
    client_since TEXT NOT NULL,
    service TEXT NOT NULL,
    adviser TEXT NOT NULL,
    risk_profile TEXT NOT NULL,
    horizon_years INTEGER NOT NULL,
    goal TEXT NOT NULL
) STRICT;

CREATE TABLE instruments (
    ticker TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('etf', 'fund', 'share')),
    provider TEXT NOT NULL,
    follows TEXT NOT NULL,
    expense_ratio_bp INTEGER,       -- a share has none
    return_1y_bp INTEGER NOT NULL,
    pays_out TEXT NOT NULL CHECK (pays_out IN ('yes', 'no')),
    launched TEXT NOT NULL,
    size_in_millions INTEGER NOT NULL,
    price_cents INTEGER NOT NULL
) STRICT;

CREATE TABLE positions (
    login TEXT NOT NULL REFERENCES clients,
    ticker TEXT NOT NULL REFERENCES instruments,
    units INTEGER NOT NULL,
    paid_cents INTEGER NOT NULL,
    PRIMARY KEY (login, ticker)
) STRICT;

-- Whoever comes without an account is `anonymous`, and is shown this client's portfolio.
INSERT INTO clients VALUES
    ('anonymous', 'Rosalind Achterberg', '2014-03-10', 'premium', 'Jonas Lindqvist',
     'balanced', 12, 'retire at 62 and keep the house on the lake'),
    ('okonjo', 'Tobias Okonjo-Reyes', '2021-09-01', 'basic', 'Mirela Dragan',
     'growth', 25, 'a first flat, and no debts');

INSERT INTO instruments VALUES
    ('LFUS', 'Larkfield US 500 ETF', 'etf', 'Larkfield', 'the 500 largest companies of the USA',
     7, 2480, 'no', '2011-05-19', 48200, 9642),
    ('NGWE', 'Northgate World Equity ETF', 'etf', 'Northgate', 'large and mid-sized companies of 23 developed countries',
     12, 2140, 'yes', '2009-10-02', 31750, 8817),
    ('NGEM', 'Northgate Emerging Markets ETF', 'etf', 'Northgate', 'large and mid-sized companies of 24 emerging countries',
     18, 960, 'yes', '2012-02-14', 9400, 3455),
    ('LFGB', 'Larkfield Global Aggregate Bond ETF', 'etf', 'Larkfield', 'government and company bonds of good standing, hedged to the euro',
     10, 290, 'yes', '2015-11-23', 6120, 2310),
    ('MDSV', 'Meridian Small Cap Value ETF', 'etf', 'Meridian', 'small companies that are cheap by their books',
     20, 1410, 'no', '2017-06-08', 1880, 5274),
    ('NGQD', 'Northgate Quality Dividend ETF', 'etf', 'Northgate', 'companies that have raised their dividend ten years in a row',
     29, 1270, 'yes', '2013-04-17', 4035, 4129),
    ('MDTL', 'Meridian Technology Leaders ETF', 'etf', 'Meridian', 'the 80 largest technology companies worldwide',
     35, 3820, 'no', '2016-01-26', 7310, 15388),
    ('AFHC', 'Alder & Finch Healthcare ETF', 'etf', 'Alder & Finch', 'companies of medicine, pharmacy and care worldwide',
     42, 1790, 'no', '2018-09-12', 1240, 6903),
    ('AFCE', 'Alder & Finch Clean Energy ETF', 'etf', 'Alder & Finch', 'companies of wind, sun, grids and storage worldwide',
     58, -1130, 'no', '2019-03-05', 690, 1276),
    ('LFEU', 'Larkfield Europe 600 ETF', 'etf', 'Larkfield', 'the 600 largest companies of Europe',
     9, 1330, 'yes', '2010-08-30', 12900, 4471),
    ('LFBI', 'Larkfield Balanced Index Fund', 'fund', 'Larkfield', 'sixty parts shares and forty parts bonds, both by index',
     16, 1100, 'no', '2006-02-01', 5210, 18740),
    ('AFGO', 'Alder & Finch Global Opportunities Fund', 'fund', 'Alder & Finch', 'what its managers find undervalued',
     135, 1920, 'no', '1998-07-15', 2870, 31265),
    ('HLVM', 'Halvorsen Marine Systems', 'share', 'Halvorsen Marine Systems', 'itself',
     NULL, 4400, 'yes', '1987-10-01', 14100, 7718);

INSERT INTO positions VALUES
    ('anonymous', 'LFUS', 500, 3120000),
    ('anonymous', 'NGWE', 640, 4288000),
    ('anonymous', 'NGEM', 420, 1331400),
    ('anonymous', 'LFGB', 1150, 2679500),
    ('anonymous', 'MDSV', 180, 774000),
    ('anonymous', 'NGQD', 260, 897000),
    ('anonymous', 'MDTL', 95, 874000),
    ('anonymous', 'AFHC', 110, 621500),
    ('anonymous', 'AFCE', 400, 716000),
    ('anonymous', 'LFBI', 60, 942000),
    ('anonymous', 'AFGO', 25, 655000),
    ('anonymous', 'HLVM', 120, 588000),
    ('okonjo', 'LFEU', 75, 301500),
    ('okonjo', 'NGWE', 90, 702000);

PRAGMA user_version = 1;

COMMIT;
