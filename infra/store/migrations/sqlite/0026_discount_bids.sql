-- What visitors who could be offered a discount were worth to a day's budget: its price is learned from the newest. Nobody is named.

CREATE TABLE discount_bids (
    partner TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    worth REAL NOT NULL, -- what the discount is estimated to earn, in the shop's currency, per cent of the budget
    cents INTEGER NOT NULL
) STRICT;

CREATE INDEX discount_bids_by_partner ON discount_bids (partner, at_us);

CREATE INDEX discount_bids_by_age ON discount_bids (at_us);
