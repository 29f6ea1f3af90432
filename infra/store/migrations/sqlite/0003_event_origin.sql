-- What an event's sender said of it becomes columns of the event: one write per event instead of three.

ALTER TABLE events ADD COLUMN decision_id TEXT; -- the decision that the sender named as its cause

ALTER TABLE events ADD COLUMN browser INTEGER NOT NULL DEFAULT 0; -- 1: came with a browser key; a server or a file else

UPDATE events SET decision_id = (SELECT d.decision_id FROM event_decisions d WHERE d.seq = events.seq)
WHERE seq IN (SELECT seq FROM event_decisions);

UPDATE events SET browser = 1 WHERE seq IN (SELECT seq FROM browser_events);

DROP TABLE event_decisions;

DROP TABLE browser_events;
