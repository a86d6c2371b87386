SELECT * FROM north
SELECT name FROM north WHERE lanes > 2
SELECT count(*) AS n FROM dogs
SELECT frame, dog FROM dogs WHERE video_id = 2 ORDER BY dog DESC LIMIT 3
SELECT frame, dog FROM dogs ORDER BY dog DESC LIMIT 4
SELECT frame FROM dogs WHERE dog > 0.3 AND seconds < 2
SELECT v.name, b.best FROM best b JOIN videos v USING (video_id) ORDER BY b.best DESC
SELECT * FROM best WHERE best > 0.5 ORDER BY video_id
SELECT * FROM seen ORDER BY frame
SELECT name, dog FROM seen WHERE seconds >= 1 ORDER BY dog DESC, frame LIMIT 2
SELECT video_id, frame FROM ranked WHERE place <= 2 ORDER BY ALL
SELECT a.frame, b.frame AS other FROM dogs a JOIN dogs b ON a.video_id = b.video_id AND a.frame < b.frame AND a.dog > 0.3 AND b.dog > 0.3
SELECT d.frame, CLIP_MATCH(d.frame, 'a cat') AS cat FROM dogs d WHERE d.dog > 0.2 ORDER BY cat DESC LIMIT 3
SELECT frame FROM frames WHERE video_id IN (SELECT video_id FROM north) AND frame % 2 = 0
SELECT v.name FROM videos v WHERE EXISTS (SELECT 1 FROM dogs d WHERE d.video_id = v.video_id AND d.dog > 0.5)
WITH dogs AS (SELECT 1 AS a) SELECT * FROM dogs
WITH frames AS (SELECT 1 AS a) SELECT count(*) AS n FROM dogs, frames
WITH dogs AS (SELECT * FROM dogs WHERE dog > 0.3) SELECT count(*) AS n FROM dogs
WITH RECURSIVE r AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT r.i, n.name FROM r, north n
SELECT x.video_id FROM times AS x(video_id, t) WHERE x.t > 1 ORDER BY ALL
SELECT * FROM north n LEFT JOIN best b ON b.video_id = n.video_id AND b.best > 0.6 ORDER BY n.video_id
SELECT video_id, count(*) AS n FROM times GROUP BY video_id HAVING count(*) > 2 ORDER BY ALL
SELECT v.name, t.frame FROM videos v, LATERAL (SELECT frame FROM dogs d WHERE d.video_id = v.video_id ORDER BY dog DESC LIMIT 1) t
DESCRIBE dogs
DESCRIBE ranked
DESCRIBE SELECT name, best FROM best JOIN videos USING (video_id)
SELECT frame, a.dog FROM (dogs a JOIN dogs b USING (frame)) WHERE b.dog > 0.3
SELECT a.frame FROM (dogs a SEMI JOIN best b ON b.video_id = a.video_id AND b.best > 0.5)
SELECT v.name, x.frame FROM videos v LEFT JOIN (dogs x JOIN best p ON p.video_id = x.video_id AND x.dog = p.best) ON x.video_id = v.video_id
SELECT (SELECT max(dog) FROM dogs) + 1
SELECT EXISTS (SELECT 1 FROM dogs d WHERE d.video_id = v.video_id AND d.dog > 0.5), video_id IN (SELECT video_id FROM seen) FROM videos v
