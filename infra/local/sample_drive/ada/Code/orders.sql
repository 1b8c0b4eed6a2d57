-- The order book of the Rye Lock. One small database, backed up to the boat every night.

CREATE TABLE customer (
    id integer PRIMARY KEY,
    name text NOT NULL,
    towpath_side text CHECK (towpath_side IN ('near', 'far')),
    likes_it_dark boolean NOT NULL DEFAULT false -- crust, not conversation
);

CREATE TABLE standing_order (
    customer integer NOT NULL REFERENCES customer,
    loaf text NOT NULL,
    weekday integer NOT NULL CHECK (weekday BETWEEN 1 AND 7),
    count integer NOT NULL DEFAULT 1,
    PRIMARY KEY (customer, loaf, weekday)
);

-- Saturday is the only day on which boats may collect before the shop opens.
CREATE VIEW early_collection AS
SELECT c.name, o.loaf, o.count
FROM standing_order o JOIN customer c ON c.id = o.customer
WHERE o.weekday = 6 AND c.towpath_side = 'near'
ORDER BY c.name;

-- How many kilograms of dough must be mixed tonight?
SELECT loaf, sum(count) AS loaves, round(sum(count) * 1.08, 2) AS kilograms
FROM standing_order
WHERE weekday = 1 + extract(isodow FROM now())::integer % 7
GROUP BY loaf
HAVING sum(count) > 0;
