-- looking around
SELECT * FROM videos
SELECT * FROM frames
SELECT * FROM gops
FROM videos
FROM frames SELECT frame, seconds
FROM videos SELECT name WHERE duration_seconds > 3
SELECT count(*) FROM frames
SELECT count(*) AS n, min(seconds), max(seconds) FROM frames
SELECT count(DISTINCT video_id) FROM frames
SELECT DISTINCT video_id FROM frames
SELECT DISTINCT codec FROM videos ORDER BY codec
SELECT DISTINCT ON (video_id) video_id, frame FROM frames ORDER BY video_id, frame DESC
SELECT name, duration_seconds FROM videos ORDER BY duration_seconds DESC
SELECT name, duration_seconds FROM videos ORDER BY duration_seconds DESC LIMIT 3
SELECT name FROM videos ORDER BY name LIMIT 2 OFFSET 2
SELECT name FROM videos ORDER BY 1 DESC LIMIT 1
SELECT * FROM videos WHERE error IS NOT NULL
SELECT name FROM videos WHERE error IS NULL
SELECT name FROM videos WHERE status = 'quarantined'
SELECT name FROM videos WHERE name LIKE 'v1%'
SELECT name FROM videos WHERE name ILIKE 'V%' AND width > 100
SELECT name FROM videos WHERE name NOT LIKE '%2%'
SELECT name FROM videos WHERE regexp_matches(name, 'v[23]')
SELECT name FROM videos WHERE name SIMILAR TO 'v[456].*'
SELECT name FROM videos WHERE starts_with(name, 'v3')
SELECT name FROM videos WHERE name IN ('v1.mp4', 'v2.mp4', 'nothing.mp4')
SELECT name FROM videos WHERE name NOT IN ('v1.mp4', 'v2.mp4')
SELECT name FROM videos WHERE width BETWEEN 100 AND 300
SELECT name FROM videos WHERE width NOT BETWEEN 100 AND 300
SELECT name FROM videos WHERE NOT (width > 100 OR codec = 'h264')
SELECT name FROM videos WHERE width / height > 2
SELECT name, width // 64 AS w, width % 100 AS r FROM videos
SELECT name, round(duration_seconds * 1000) AS ms FROM videos
SELECT upper(name) AS n, length(name) AS l FROM videos
SELECT replace(name, '.mp4', '') AS stem FROM videos
SELECT split_part(name, '.', 1) AS stem FROM videos
SELECT name || ' (' || codec || ')' AS label FROM videos
SELECT concat_ws('-', name, codec, width) AS label FROM videos
SELECT printf('%s: %d', name, width) AS label FROM videos
SELECT name, CASE WHEN duration_seconds < 4 THEN 'short' ELSE 'long' END AS size FROM videos
SELECT name, if(width > 200, 'wide', 'narrow') FROM videos
SELECT coalesce(error, 'fine') AS state FROM videos
SELECT nullif(codec, 'h264') AS other FROM videos
SELECT video_id::VARCHAR AS text, width::DOUBLE / 3 AS third FROM videos
SELECT try_cast(name AS INTEGER) FROM videos
SELECT greatest(width, height), least(width, height) FROM videos
SELECT year(ingested_at) > 2000 FROM videos
SELECT date_trunc('day', ingested_at) <= now()::TIMESTAMP FROM videos
SELECT 1 + 1 AS two
SELECT NULL AS nothing, true AS yes
SELECT * FROM range(5)
SELECT r.range * 2 FROM range(2, 5) r
SELECT i FROM generate_series(1, 3) s(i)
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(n, t)
SELECT unnest([1, 2, 3]) AS n
SELECT video_id, unnest(['a', 'b']) AS x FROM videos WHERE video_id < 3
-- filters on frames
SELECT frame FROM frames WHERE video_id = 2
SELECT frame FROM frames WHERE seconds < 1
SELECT frame FROM frames WHERE 1 > seconds
SELECT frame FROM frames WHERE seconds = 1
SELECT frame FROM frames WHERE seconds IN (0, 2)
SELECT frame FROM frames WHERE seconds BETWEEN 0.5 AND 1.5
SELECT frame FROM frames WHERE seconds < 0.5 OR seconds > 2
SELECT frame FROM frames WHERE picture = 'I' AND video_id IN (1, 2)
SELECT frame FROM frames WHERE exact
SELECT frame FROM frames WHERE NOT exact
SELECT frame FROM frames WHERE exact IS TRUE AND drift = 0
SELECT frame FROM frames WHERE frame % 2 = 0
SELECT frame FROM frames WHERE (video_id, seconds) IN ((1, 0.5), (2, 1.0))
SELECT frame FROM frames WHERE (video_id, seconds) = (1, 0.5)
SELECT frame FROM frames WHERE seconds > (SELECT avg(seconds) FROM frames)
SELECT frame FROM frames WHERE video_id = (SELECT max(video_id) FROM frames)
SELECT frame FROM frames WHERE video_id IN (SELECT video_id FROM videos WHERE name LIKE 'v1%')
SELECT frame FROM frames WHERE video_id NOT IN (SELECT video_id FROM videos WHERE width > 200)
SELECT frame FROM frames WHERE video_id = ANY (SELECT video_id FROM videos WHERE width > 200)
SELECT frame FROM frames WHERE seconds >= ALL (SELECT seconds FROM frames)
SELECT frame FROM frames ORDER BY seconds DESC, frame LIMIT 4
SELECT frame FROM frames ORDER BY frame LIMIT 10%
SELECT frame FROM frames ORDER BY frame LIMIT 5 OFFSET 30
SELECT frame FROM frames ORDER BY frame LIMIT 5 OFFSET 40
SELECT frame FROM frames ORDER BY frame OFFSET 33
SELECT count(*) FROM (SELECT frame FROM frames LIMIT 7)
SELECT count(*) FROM (SELECT frame FROM frames LIMIT 0)
SELECT count(*) FROM (SELECT frame FROM frames LIMIT 50%)
SELECT count(*) FROM (SELECT frame FROM frames WHERE seconds < 1 LIMIT 100)
SELECT count(*) FROM (SELECT f.frame FROM frames f JOIN videos v USING (video_id) WHERE v.width > 200 LIMIT 5)
-- scores as columns
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT frame, CLIP_MATCH(frame, 'a dog') FROM frames
SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS dog, CLIP_MATCH(f.frame, 'a cat') AS cat FROM frames f
SELECT CLIP_MATCH(frame, 'a dog') - CLIP_MATCH(frame, 'a cat') AS d FROM frames
SELECT frame, round(100 * CLIP_MATCH(frame, 'a dog')) AS percent FROM frames
SELECT frame, CLIP_PROB(frame, 'a dog') AS p FROM frames
SELECT frame, CLIP_PROB(frame, 'a dog') AS p, CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT greatest(CLIP_MATCH(frame, 'a dog'), CLIP_MATCH(frame, 'a cat')) AS g FROM frames
SELECT *, CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT f.*, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f
SELECT * EXCLUDE (drift, reuse_rate), CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT * REPLACE (seconds + 1 AS seconds), CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT * RENAME (seconds AS moment), CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT COLUMNS('.*e.*'), CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT COLUMNS(* EXCLUDE (picture, strategy, exact, "at")) + 1, CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT COLUMNS(lambda c: c LIKE 's%'), CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT min(COLUMNS(['seconds', 'frame'])), max(CLIP_MATCH(frame, 'a dog')) AS s FROM frames
SELECT * LIKE '%e%', CLIP_MATCH(frame, 'a dog') AS s FROM frames
SELECT f, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f
SELECT f.frame, f IS NULL FROM frames f WHERE CLIP_MATCH(f.frame, 'a dog') > 0.2
SELECT to_json(f) FROM frames f WHERE CLIP_MATCH(f.frame, 'a dog') > 0.2
SELECT unnest(f) FROM frames f WHERE CLIP_MATCH(f.frame, 'a dog') > 0.4
SELECT v, f FROM videos v JOIN frames f USING (video_id) WHERE CLIP_MATCH(f.frame, 'a dog') > 0.4
SELECT v.name, f FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.4
SELECT d FROM (SELECT * FROM frames) d WHERE CLIP_MATCH(d.frame, 'a dog') > 0.4
SELECT list(f) FROM frames f WHERE CLIP_MATCH(f.frame, 'a dog') > 0.6
SELECT struct_pack(a := frame, b := CLIP_MATCH(frame, 'a dog')) AS x FROM frames
SELECT {'frame': frame, 'dog': CLIP_MATCH(frame, 'a dog')} AS x FROM frames
SELECT [CLIP_MATCH(frame, 'a dog'), CLIP_MATCH(frame, 'a cat')] AS both FROM frames
SELECT CASE WHEN CLIP_MATCH(frame, 'a dog') > 0.3 THEN 'dog' WHEN CLIP_MATCH(frame, 'a cat') > 0.3 THEN 'cat' END AS label FROM frames
SELECT CASE WHEN IS_MATCH(frame, 'a dog') THEN 'dog' ELSE 'none' END AS label FROM frames
SELECT if(IS_MATCH(frame, 'a dog'), 1, 0) AS dog FROM frames
SELECT frame, CLIP_MATCH(frame, 'a dog') > 0.3 AS is_dog FROM frames
SELECT coalesce(CLIP_MATCH(frame, 'a dog'), 0) AS s FROM frames
SELECT CLIP_MATCH(frame, 'a dog')::DECIMAL(4, 1) AS s FROM frames WHERE seconds = 1
SELECT frames.frame, CLIP_MATCH(frames.frame, 'a dog') AS s FROM frames
SELECT FRAME, clip_match(FRAME, 'a dog') AS s FROM FRAMES
SELECT "frame", CLIP_MATCH("frame", 'a dog') AS "My Score" FROM frames
-- cut-offs
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3
SELECT frame FROM frames WHERE 0.3 < CLIP_MATCH(frame, 'a dog')
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') >= 0.2 + 0.1
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') BETWEEN 0.1 AND 0.4
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') NOT BETWEEN 0.1 AND 0.4
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') < 0
SELECT frame FROM frames WHERE NOT CLIP_MATCH(frame, 'a dog') < 0.1
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') * 2 > 0.7
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > CLIP_MATCH(frame, 'a cat')
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.2 AND CLIP_MATCH(frame, 'a cat') < 0.2
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3 OR CLIP_MATCH(frame, 'a cat') > 0.3
SELECT frame FROM frames WHERE abs(CLIP_MATCH(frame, 'a dog')) < 0.1
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > seconds / 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE s > 0.3
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s, s * 2 AS t FROM frames WHERE t > 0.6
SELECT frame FROM frames WHERE CLIP_PROB(frame, 'a dog') > 0.99
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog')
SELECT frame FROM frames WHERE NOT IS_MATCH(frame, 'a dog')
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') = true
SELECT frame FROM frames WHERE true = IS_MATCH(frame, 'a dog')
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') = false
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') IS TRUE
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') IS NOT TRUE
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog')::BOOL
SELECT frame FROM frames WHERE CAST(IS_MATCH(frame, 'a dog') AS BOOLEAN) AND seconds < 2
SELECT frame FROM frames WHERE (IS_MATCH(frame, 'a dog')) OR (IS_MATCH(frame, 'a cat'))
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') AND NOT IS_MATCH(frame, 'a cat')
SELECT count(*) FILTER (WHERE IS_MATCH(frame, 'a dog')) AS dogs, count(*) AS n FROM frames
SELECT count(*) FILTER (WHERE CLIP_MATCH(frame, 'a dog') > 0.3) AS dogs FROM frames
SELECT video_id, bool_or(IS_MATCH(frame, 'a dog')) AS any_dog FROM frames GROUP BY video_id
SELECT video_id, bool_and(CLIP_MATCH(frame, 'a dog') > -0.2) AS all_dog FROM frames GROUP BY video_id
SELECT video_id, count_if(IS_MATCH(frame, 'a dog')) AS n FROM frames GROUP BY video_id
SELECT sum(IS_MATCH(frame, 'a dog')::BOOL::INT) AS n FROM frames
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > (SELECT avg(CLIP_MATCH(frame, 'a dog')) FROM frames)
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') = (SELECT max(CLIP_MATCH(g.frame, 'a dog')) FROM frames g)
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') IN (SELECT max(CLIP_MATCH(frame, 'a dog')) FROM frames GROUP BY video_id)
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') IS NOT NULL AND seconds < 1
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > NULL
SELECT frame FROM frames WHERE true AND CLIP_MATCH(frame, 'a dog') > 0.3
SELECT frame FROM frames WHERE 1 = 0 OR CLIP_MATCH(frame, 'a dog') > 0.3
SELECT frame FROM frames WHERE seconds < 1 AND CLIP_MATCH(frame, 'a dog') > 0.1 AND video_id <> 3
-- the best rows
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5
SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') FROM frames ORDER BY 2 DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s ASC NULLS LAST LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC NULLS LAST LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC, frame LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY seconds, s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY -s LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY round(s, 1) DESC, frame LIMIT 7
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5 OFFSET 3
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 10%
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 1000
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 0
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 2 + 1
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT (SELECT 3)
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE seconds < 1 ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE s > 0.4 ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE s < 0.4 ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE CLIP_MATCH(frame, 'a cat') > 0 ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE IS_MATCH(frame, 'a dog') ORDER BY s DESC LIMIT 3
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE video_id IN (1, 3) ORDER BY s DESC LIMIT 4
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE video_id IN (SELECT video_id FROM videos WHERE width > 200) ORDER BY s DESC LIMIT 4
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames WHERE video_id NOT IN (SELECT video_id FROM videos WHERE width > 200) ORDER BY s DESC LIMIT 4
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE f.video_id IN (SELECT v.video_id FROM videos v WHERE EXISTS (SELECT 1 FROM gops g WHERE g.video_id = v.video_id AND g.gop = 2)) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE f.video_id IN (SELECT v.video_id FROM videos v WHERE v.width > f.frame / 10) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE f.video_id IN (SELECT v.video_id FROM videos v ORDER BY v.width LIMIT 2) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE f.video_id IN (SELECT max(v.video_id) FROM videos v WHERE width < 300) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE EXISTS (SELECT 1 FROM videos v WHERE v.video_id = f.video_id AND v.width > 200) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE EXISTS (SELECT count(*) FROM videos v WHERE v.video_id = f.video_id AND v.width > 9000) ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames f WHERE (SELECT width FROM videos v WHERE v.video_id = f.video_id) > 200 ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id) ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id) WHERE v.codec = 'h264' ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f, videos v WHERE f.video_id = v.video_id AND v.codec = 'h264' ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM videos v JOIN frames f ON v.video_id = f.video_id AND f.seconds < 1 ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f LEFT JOIN videos v ON v.video_id = f.video_id AND v.width > 200 ORDER BY s DESC LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v ON v.video_id = f.video_id OR v.video_id = 1 ORDER BY s DESC, v.name LIMIT 5
SELECT f.frame, v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v ON v.video_id < f.video_id ORDER BY s DESC, v.name LIMIT 5
SELECT f.frame, g.gop, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN gops g USING (video_id) WHERE g.gop = 1 ORDER BY s DESC LIMIT 5
SELECT f.frame, g.gop, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.start_seconds AND f.seconds < g.stop_seconds WHERE g.gop = 1 ORDER BY s DESC LIMIT 5
SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id) JOIN videos w USING (video_id) WHERE w.width > 200 ORDER BY s DESC LIMIT 5
SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f SEMI JOIN videos v ON f.video_id = v.video_id AND v.width > 200 ORDER BY s DESC LIMIT 5
SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f ANTI JOIN videos v ON f.video_id = v.video_id AND v.width > 200 ORDER BY s DESC LIMIT 5
SELECT frame, unnest([1, 2]) AS n, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC, n LIMIT 5
SELECT DISTINCT video_id, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5
SELECT video_id, count(*) OVER () AS n, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5
SELECT frame, CLIP_PROB(frame, 'a dog') AS p FROM frames ORDER BY p DESC LIMIT 3
SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') + CLIP_MATCH(frame, 'a cat') DESC LIMIT 5
SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC, CLIP_MATCH(frame, 'a cat') DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS s, CLIP_MATCH(frame, 'a cat') AS t FROM frames ORDER BY s DESC LIMIT 5
SELECT * FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) ORDER BY s DESC LIMIT 5
SELECT * FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5) WHERE s > 0.5
SELECT * FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 5) d WHERE d.frame > 3000
WITH best AS (SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 8) SELECT video_id, count(*) FROM best GROUP BY video_id
WITH best AS (SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 8) SELECT v.name, b.frame FROM best b JOIN videos v USING (video_id) WHERE v.width > 100
WITH best AS (SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 8) SELECT frame, CLIP_MATCH(frame, 'a cat') AS t FROM best WHERE video_id > 2
SELECT seconds AS s, CLIP_MATCH(frame, 'a dog') AS seconds FROM frames ORDER BY seconds DESC LIMIT 5
SELECT frame, CLIP_MATCH(frame, 'a dog') AS frame2 FROM frames ORDER BY frame2 DESC LIMIT 2
SELECT arg_max(frame, CLIP_MATCH(frame, 'a dog')) AS best, max(CLIP_MATCH(frame, 'a dog')) AS s FROM frames
SELECT arg_max(frame, CLIP_MATCH(frame, 'a dog'), 3) AS best FROM frames
SELECT max(CLIP_MATCH(frame, 'a dog'), 3) AS best FROM frames
-- top k per video
SELECT v.video_id, t.frame, t.s FROM videos v, LATERAL (SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f WHERE f.video_id = v.video_id ORDER BY s DESC LIMIT 2) t
SELECT v.video_id, t.frame, t.s FROM videos v, (SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f WHERE f.video_id = v.video_id ORDER BY s DESC LIMIT 2) t
SELECT v.video_id, t.frame FROM videos v LEFT JOIN LATERAL (SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f WHERE f.video_id = v.video_id ORDER BY s DESC LIMIT 1) t ON true
SELECT v.name, (SELECT f.frame FROM frames f WHERE f.video_id = v.video_id ORDER BY CLIP_MATCH(f.frame, 'a dog') DESC LIMIT 1) AS best FROM videos v
SELECT v.name, (SELECT max(CLIP_MATCH(f.frame, 'a dog')) FROM frames f WHERE f.video_id = v.video_id) AS best FROM videos v
SELECT v.name, (SELECT CLIP_MATCH(f.frame, 'a dog') FROM frames f WHERE f.video_id = v.video_id ORDER BY 1 DESC LIMIT 1) AS best FROM videos v WHERE v.width > 100
SELECT v.name, ARRAY(SELECT f.frame FROM frames f WHERE f.video_id = v.video_id ORDER BY CLIP_MATCH(f.frame, 'a dog') DESC LIMIT 2) AS best FROM videos v
SELECT g.video_id, g.gop, t.frame FROM gops g, LATERAL (SELECT f.frame FROM frames f WHERE f.video_id = g.video_id AND f.seconds >= g.start_seconds AND f.seconds < g.stop_seconds ORDER BY CLIP_MATCH(f.frame, 'a dog') DESC LIMIT 1) t
SELECT v.name FROM videos v WHERE EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3)
SELECT v.name FROM videos v WHERE EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3 LIMIT 1)
SELECT v.name FROM videos v WHERE EXISTS (FROM frames f WHERE f.video_id = v.video_id AND IS_MATCH(f.frame, 'a dog'))
SELECT v.name FROM videos v WHERE NOT EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3)
SELECT v.name FROM videos v WHERE 0.3 < (SELECT max(CLIP_MATCH(f.frame, 'a dog')) FROM frames f WHERE f.video_id = v.video_id)
SELECT v.name FROM videos v WHERE v.video_id IN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3)
SELECT v.name FROM videos v WHERE v.video_id NOT IN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3)
SELECT v.name FROM videos v WHERE (SELECT count(*) FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.1) >= 3
SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY s DESC) <= 2
SELECT video_id, frame FROM frames QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) = 1
SELECT video_id, frame FROM frames WHERE seconds > 0 QUALIFY rank() OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) = 1
SELECT * FROM (SELECT video_id, frame, row_number() OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS r FROM frames) WHERE r <= 2
SELECT * FROM (SELECT video_id, frame, row_number() OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS r FROM frames) WHERE r <= 2 AND video_id = 3
SELECT * FROM (SELECT video_id, frame, row_number() OVER (ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS r FROM frames) WHERE r <= 10 AND video_id = 3
SELECT DISTINCT ON (video_id) video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY video_id, s DESC
SELECT video_id, arg_max(frame, CLIP_MATCH(frame, 'a dog')) AS best FROM frames GROUP BY video_id
SELECT video_id, max(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id ORDER BY s DESC LIMIT 2
SELECT v.name, max(CLIP_MATCH(f.frame, 'a dog')) AS s FROM videos v JOIN frames f USING (video_id) GROUP BY v.name ORDER BY s DESC LIMIT 3
SELECT v.name, max(CLIP_MATCH(f.frame, 'a dog')) AS s FROM videos v LEFT JOIN frames f USING (video_id) GROUP BY v.name ORDER BY v.name
SELECT video_id, list(frame ORDER BY CLIP_MATCH(frame, 'a dog') DESC)[1:2] AS best FROM frames GROUP BY video_id
SELECT video_id, first(frame ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS best FROM frames GROUP BY video_id
-- grouping
SELECT video_id, count(*) FROM frames GROUP BY video_id
SELECT video_id, count(*) FROM frames GROUP BY 1
SELECT video_id, count(*) FROM frames GROUP BY ALL
SELECT video_id, avg(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id HAVING s > 0.1
SELECT video_id, avg(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id HAVING max(CLIP_MATCH(frame, 'a dog')) > 0.4
SELECT video_id, count(*) AS n FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1 GROUP BY video_id HAVING n > 1
SELECT video_id, picture, max(CLIP_MATCH(frame, 'a dog')) FROM frames GROUP BY video_id, picture
SELECT video_id, picture, max(CLIP_MATCH(frame, 'a dog')) FROM frames GROUP BY ROLLUP (video_id, picture)
SELECT video_id, picture, max(CLIP_MATCH(frame, 'a dog')) FROM frames GROUP BY CUBE (video_id, picture)
SELECT video_id, picture, count(*), grouping(video_id) FROM frames GROUP BY GROUPING SETS ((video_id), (picture), ())
SELECT codec, count(*) AS n, sum(duration_seconds) AS total FROM videos GROUP BY codec
SELECT codec, string_agg(name, ',' ORDER BY name) AS names FROM videos GROUP BY codec
SELECT codec, list(video_id ORDER BY video_id) FROM videos GROUP BY codec
SELECT width > 200 AS wide, count(*) FROM videos GROUP BY wide
SELECT floor(seconds) AS second, avg(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY second
SELECT floor(seconds)::INT AS sec, count(*) FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0 GROUP BY sec ORDER BY sec
SELECT round(CLIP_MATCH(frame, 'a dog'), 1) AS bucket, count(*) FROM frames GROUP BY bucket
SELECT CLIP_MATCH(frame, 'a dog') > 0.2 AS dog, CLIP_MATCH(frame, 'a cat') > 0.2 AS cat, count(*) FROM frames GROUP BY ALL
SELECT median(CLIP_MATCH(frame, 'a dog')), stddev(CLIP_MATCH(frame, 'a dog')) FROM frames
SELECT quantile_cont(CLIP_MATCH(frame, 'a dog'), 0.9) FROM frames
SELECT quantile_cont(CLIP_MATCH(frame, 'a dog'), [0.1, 0.5, 0.9]) FROM frames
SELECT corr(CLIP_MATCH(frame, 'a dog'), CLIP_MATCH(frame, 'a cat')) FROM frames
SELECT mode(codec) FROM videos WHERE video_id < 4
SELECT mode(codec) FROM videos WHERE video_id < 4 LIMIT 1
SELECT histogram(video_id) FROM frames
SELECT approx_count_distinct(video_id) FROM frames
SELECT any_value(name) FROM videos WHERE video_id = 2
SELECT sum(num_frames) FILTER (WHERE codec = 'h264') FROM videos
SELECT count(error), count(*) FROM videos
SELECT v.name, count(f.frame) AS n FROM videos v LEFT JOIN frames f ON v.video_id = f.video_id GROUP BY v.name
SELECT v.name, count(f.frame) AS n FROM videos v LEFT JOIN frames f ON v.video_id = f.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.2 GROUP BY v.name
SELECT v.codec, max(CLIP_MATCH(f.frame, 'a dog')) FROM videos v JOIN frames f USING (video_id) GROUP BY v.codec
SELECT max(n) FROM (SELECT video_id, count(*) AS n FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1 GROUP BY video_id)
SELECT * FROM (SELECT video_id, max(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id) WHERE s > 0.4
SELECT * FROM (SELECT video_id, max(CLIP_MATCH(frame, 'a dog')) AS s FROM frames GROUP BY video_id) WHERE video_id = 2
SELECT * FROM (SELECT video_id AS v, picture AS p, count(*) AS n FROM frames GROUP BY 1, 2) WHERE v < 3 AND p = 'I'
SELECT * FROM (SELECT video_id, count(*) AS n FROM frames GROUP BY ROLLUP (video_id)) WHERE video_id = 2
SELECT * FROM (SELECT count(*) AS n FROM frames) WHERE n > 100
SELECT * FROM (SELECT max(seconds) AS m FROM frames) WHERE m < 2
-- windows
SELECT frame, row_number() OVER (ORDER BY frame) AS n FROM frames
SELECT frame, rank() OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS r FROM frames
SELECT frame, lag(frame) OVER (PARTITION BY video_id ORDER BY seconds) AS before FROM frames
SELECT frame, CLIP_MATCH(frame, 'a dog') - lag(CLIP_MATCH(frame, 'a dog')) OVER (PARTITION BY video_id ORDER BY seconds) AS change FROM frames
SELECT frame, avg(CLIP_MATCH(frame, 'a dog')) OVER (PARTITION BY video_id ORDER BY seconds ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS smooth FROM frames
SELECT frame, max(CLIP_MATCH(frame, 'a dog')) OVER w AS best FROM frames WINDOW w AS (PARTITION BY video_id)
SELECT frame, CLIP_MATCH(frame, 'a dog') / max(CLIP_MATCH(frame, 'a dog')) OVER (PARTITION BY video_id) AS share FROM frames WHERE video_id < 3
SELECT frame, ntile(4) OVER (ORDER BY CLIP_MATCH(frame, 'a dog')) AS quarter FROM frames
SELECT frame, first_value(frame) OVER (PARTITION BY video_id ORDER BY CLIP_MATCH(frame, 'a dog') DESC) AS best FROM frames
SELECT frame, sum(seconds) OVER (PARTITION BY video_id ORDER BY frame) AS total FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0
SELECT * FROM (SELECT frame, video_id, count(*) OVER (PARTITION BY video_id) AS n FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1) WHERE video_id = 2
SELECT * FROM (SELECT frame, video_id, count(*) OVER () AS n FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.1) WHERE video_id = 2
SELECT frame FROM frames QUALIFY CLIP_MATCH(frame, 'a dog') > avg(CLIP_MATCH(frame, 'a dog')) OVER (PARTITION BY video_id)
SELECT frame FROM frames QUALIFY lead(CLIP_MATCH(frame, 'a dog')) OVER (PARTITION BY video_id ORDER BY seconds) > 0.3
SELECT frame, cume_dist() OVER (ORDER BY CLIP_MATCH(frame, 'a dog')) AS c FROM frames WHERE seconds < 1
-- joins
SELECT v.name, f.frame FROM frames f JOIN videos v USING (video_id)
SELECT name, frame FROM frames JOIN videos USING (video_id) WHERE codec = 'h264'
SELECT v.name, f.frame FROM frames f JOIN videos v ON f.video_id = v.video_id WHERE v.name = 'v2.mp4'
SELECT v.name, f.frame FROM frames f INNER JOIN videos v ON v.video_id = f.video_id AND v.name = 'v2.mp4'
SELECT v.name, f.frame FROM videos v, frames f WHERE v.video_id = f.video_id AND v.width < 200 AND f.seconds = 1
SELECT v.name, f.frame FROM videos v LEFT JOIN frames f USING (video_id)
SELECT v.name, f.frame FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id WHERE f.seconds < 1
SELECT v.name, f.frame FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id AND f.seconds < 1
SELECT v.name FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id WHERE f.frame IS NULL
SELECT v.name, f.frame FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id WHERE f.frame IS NULL OR f.seconds = 1
SELECT v.name, f.frame FROM videos v LEFT JOIN frames f ON f.video_id = v.video_id WHERE coalesce(f.seconds, 9) > 2
SELECT v.name, f.frame FROM frames f RIGHT JOIN videos v ON f.video_id = v.video_id WHERE v.width > 300
SELECT v.name, f.frame FROM frames f RIGHT JOIN videos v ON f.video_id = v.video_id AND f.seconds > 2
SELECT v.name, f.frame FROM frames f FULL JOIN videos v ON f.video_id = v.video_id AND f.seconds > 2 AND v.width > 100
SELECT v.name, f.frame FROM frames f FULL JOIN videos v USING (video_id) WHERE video_id > 4
SELECT v.name, f.frame FROM frames f FULL OUTER JOIN videos v ON f.video_id = v.video_id WHERE f.seconds > 2
SELECT v.name, f.frame FROM frames f FULL OUTER JOIN videos v ON f.video_id = v.video_id WHERE v.name = 'v7.mp4'
SELECT v.name FROM videos v SEMI JOIN frames f ON v.video_id = f.video_id
SELECT v.name FROM videos v SEMI JOIN frames f ON v.video_id = f.video_id AND f.seconds > 2
SELECT * FROM videos v SEMI JOIN frames f ON v.video_id = f.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3
SELECT v.name FROM videos v SEMI JOIN frames f USING (video_id) WHERE v.width > 100
SELECT v.name FROM videos v ANTI JOIN frames f USING (video_id)
SELECT v.name FROM videos v ANTI JOIN frames f ON v.video_id = f.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3
SELECT v.name FROM videos v ANTI JOIN frames f ON v.video_id = f.video_id AND v.width > 200
SELECT f.frame FROM frames f SEMI JOIN videos v ON f.video_id = v.video_id AND v.width > 200 WHERE CLIP_MATCH(f.frame, 'a dog') > 0
SELECT f.frame FROM frames f ANTI JOIN videos v ON f.video_id = v.video_id AND v.width > 200 WHERE CLIP_MATCH(f.frame, 'a dog') > 0
SELECT f.frame, g.gop FROM frames f JOIN gops g USING (video_id) WHERE g.gop = 1 AND f.seconds < 1
SELECT f.frame, g.gop FROM frames f JOIN gops g ON f.video_id = g.video_id AND f.seconds BETWEEN g.start_seconds AND g.stop_seconds
SELECT f.frame, g.gop FROM frames f JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.start_seconds AND f.seconds < g.stop_seconds
SELECT f.frame, g.gop FROM frames f ASOF JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.start_seconds
SELECT f.frame, g.gop FROM frames f ASOF LEFT JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.stop_seconds
SELECT f.frame, g.gop FROM frames f ASOF JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.start_seconds WHERE g.gop = 1
SELECT f.frame, g.gop FROM frames f ASOF LEFT JOIN gops g ON f.video_id = g.video_id AND f.seconds >= g.stop_seconds WHERE g.gop < 1
SELECT f.frame FROM frames f JOIN (videos v LEFT JOIN gops g ON g.video_id = v.video_id) ON f.video_id = v.video_id WHERE g.gop IS NULL
SELECT f.frame FROM frames f JOIN (videos v LEFT JOIN gops g ON g.video_id = v.video_id AND g.gop > 5) ON f.video_id = v.video_id WHERE g.gop IS NULL AND v.width < 200
SELECT f.frame, g.gop FROM frames f LEFT JOIN (videos v JOIN gops g ON g.video_id = v.video_id) ON f.video_id = v.video_id AND g.gop = 0 AND v.width > 200
SELECT f.frame, g.gop FROM frames f LEFT JOIN (videos v JOIN gops g ON g.video_id = v.video_id) ON f.video_id = v.video_id WHERE v.width > 200 AND g.gop = 2
SELECT f.frame FROM (frames f JOIN videos v USING (video_id)) WHERE v.width > 300
SELECT f.frame FROM (frames f LEFT JOIN videos v ON f.video_id = v.video_id AND v.width > 300) LEFT JOIN gops g ON g.video_id = v.video_id WHERE g.video_id IS NULL
SELECT v.name, w.name FROM videos v JOIN videos w ON v.video_id < w.video_id
SELECT v.name, w.name FROM videos v CROSS JOIN videos w WHERE v.width = w.width
SELECT a.frame, b.frame FROM frames a JOIN frames b ON a.video_id = b.video_id AND a.seconds + 0.5 = b.seconds
SELECT a.frame, b.frame FROM frames a JOIN frames b ON a.video_id = b.video_id AND a.seconds < b.seconds WHERE CLIP_MATCH(a.frame, 'a dog') > 0.2 AND CLIP_MATCH(b.frame, 'a cat') > 0.2
SELECT a.frame, b.frame, CLIP_MATCH(a.frame, 'a dog') + CLIP_MATCH(b.frame, 'a cat') AS s FROM frames a JOIN frames b ON a.video_id = b.video_id AND b.seconds > a.seconds ORDER BY s DESC, a.frame, b.frame LIMIT 5
SELECT a.frame, b.frame FROM frames a LEFT JOIN frames b ON a.video_id = b.video_id AND b.seconds > a.seconds AND CLIP_MATCH(b.frame, 'a dog') > 0.3
SELECT f.frame, v.name FROM frames f NATURAL JOIN videos v WHERE CLIP_MATCH(f.frame, 'a dog') > 0.2
SELECT f.frame, v.name FROM frames f NATURAL JOIN videos v WHERE video_id = 3
SELECT f.frame, v.name FROM frames f POSITIONAL JOIN videos v
SELECT f.frame, v.name FROM frames f POSITIONAL JOIN videos v WHERE v.width > 200
SELECT f.frame, n.i FROM frames f JOIN range(3) n(i) ON f.video_id = n.i
SELECT f.frame, w.t FROM frames f JOIN (VALUES (1, 'one'), (2, 'two')) w(id, t) ON f.video_id = w.id WHERE CLIP_MATCH(f.frame, 'a dog') > 0
SELECT v.name, t.x FROM videos v, unnest([1, 2]) t(x) WHERE v.video_id = t.x
SELECT v.name, t.x FROM videos v, LATERAL (SELECT v.width * 2 AS x) t WHERE t.x > 300
SELECT video_id, name FROM videos JOIN gops USING (video_id) WHERE gop = 0 AND video_id < 4
SELECT v.video_id FROM videos v JOIN gops g USING (video_id) JOIN frames f USING (video_id) WHERE g.gop = 0 AND f.seconds = 0
SELECT video_id FROM videos LEFT JOIN gops USING (video_id) WHERE video_id > 5
SELECT video_id FROM gops RIGHT JOIN videos USING (video_id) WHERE video_id > 5
SELECT video_id FROM gops FULL JOIN videos USING (video_id) WHERE video_id > 5
SELECT f.frame FROM frames f JOIN videos v ON v.video_id = f.video_id JOIN gops g ON g.video_id = v.video_id WHERE v.name = 'v3.mp4' AND g.gop = 0 AND CLIP_MATCH(f.frame, 'a dog') > -1
SELECT f.frame FROM frames f LEFT JOIN videos v ON v.video_id = f.video_id WHERE v.name = 'v3.mp4'
SELECT f.frame FROM frames f LEFT JOIN videos v ON v.video_id = f.video_id AND v.name = 'v3.mp4' WHERE v.name IS NULL
-- derived tables and CTEs
SELECT frame FROM (SELECT * FROM frames) WHERE seconds < 1
SELECT d.frame FROM (SELECT * FROM frames WHERE seconds < 2) d WHERE CLIP_MATCH(d.frame, 'a dog') > 0.2
SELECT d.frame FROM (SELECT frame, video_id AS v FROM frames) d WHERE v = 2 AND CLIP_MATCH(d.frame, 'a dog') > 0
SELECT * FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) WHERE s > 0.3
SELECT * FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) WHERE 0.3 < s AND s < 0.6
SELECT frame FROM (SELECT frame, seconds + 1 AS seconds FROM frames) WHERE seconds < 1.6
SELECT frame FROM (SELECT frame, seconds + 1 AS later FROM frames) WHERE later < 1.6
SELECT * FROM (SELECT DISTINCT video_id, picture FROM frames) WHERE video_id > 3
SELECT * FROM (SELECT DISTINCT ON (video_id) video_id, seconds FROM frames ORDER BY video_id, seconds DESC) WHERE seconds < 1
SELECT * FROM (SELECT video_id, frame FROM frames ORDER BY frame LIMIT 8) WHERE video_id = 2
SELECT * FROM (SELECT video_id, frame FROM frames ORDER BY frame LIMIT 8 OFFSET 2) WHERE video_id = 2
SELECT * FROM (SELECT video_id, unnest([seconds, seconds + 10]) AS x FROM frames) WHERE x > 11
SELECT * FROM ((SELECT video_id FROM videos) LIMIT 3) WHERE video_id >= 0
SELECT count(*) FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM frames) WHERE seconds < 2) WHERE video_id > 1) WHERE seconds > 0
SELECT a FROM (SELECT video_id, frame FROM frames) d(a, b) WHERE b > 5000
SELECT x FROM frames f(v, x, t) WHERE v = 2 AND t < 1
SELECT x, CLIP_MATCH(x, 'a dog') AS s FROM frames f(v, x, t) WHERE v = 2 AND t < 1
WITH early AS (SELECT * FROM frames WHERE seconds < 1) SELECT count(*) FROM early
WITH early AS (SELECT * FROM frames WHERE seconds < 1) SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM early
WITH early AS (SELECT * FROM frames WHERE seconds < 1) SELECT frame FROM early WHERE CLIP_MATCH(frame, 'a dog') > 0.1 AND video_id = 2
WITH scored AS (SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) SELECT video_id, max(s) FROM scored GROUP BY video_id
WITH scored AS (SELECT video_id, frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) SELECT a.frame, b.frame FROM scored a JOIN scored b ON a.video_id = b.video_id AND a.s > b.s WHERE a.s > 0.4
WITH scored AS (SELECT *, CLIP_MATCH(frame, 'a dog') AS s FROM frames) SELECT * FROM scored WHERE s > 0.4 UNION ALL SELECT * FROM scored WHERE s < -0.2
WITH c AS (SELECT * FROM frames) SELECT * FROM c a JOIN c b USING (frame) WHERE CLIP_MATCH(a.frame, 'a dog') > 0.4
WITH c AS (SELECT * FROM frames) SELECT a.*, CLIP_MATCH(b.frame, 'a cat') AS s FROM c a JOIN c b USING (frame) WHERE CLIP_MATCH(a.frame, 'a dog') > 0.4
WITH c AS (SELECT * FROM frames) SELECT * FROM c WHERE CLIP_MATCH(frame, 'a dog') > 0.4 UNION ALL SELECT * FROM c WHERE seconds = 0
WITH c AS (SELECT * FROM frames) SELECT * FROM c WHERE CLIP_MATCH(frame, 'a dog') > 0.4 EXCEPT SELECT * FROM c WHERE seconds > 1
WITH c AS (SELECT * FROM frames) SELECT c FROM c WHERE CLIP_MATCH(c.frame, 'a dog') > 0.4
WITH c AS (SELECT * FROM frames WHERE video_id = 2), d AS (SELECT * FROM c WHERE seconds < 2) SELECT frame FROM d WHERE CLIP_MATCH(frame, 'a dog') > -1 AND seconds > 0
WITH c(v, fr) AS (SELECT video_id, frame FROM frames) SELECT v, CLIP_MATCH(fr, 'a dog') AS s FROM c WHERE v = 3
WITH c(frame, seconds) AS (SELECT video_id, frame FROM frames) SELECT * FROM c WHERE frame = 3
WITH c AS MATERIALIZED (SELECT * FROM frames WHERE seconds > 1) SELECT frame FROM c WHERE CLIP_MATCH(frame, 'a cat') > 0.2
WITH c AS NOT MATERIALIZED (SELECT * FROM frames) SELECT frame FROM c WHERE CLIP_MATCH(frame, 'a cat') > 0.2 AND video_id = 1
WITH frames AS (SELECT * FROM frames WHERE seconds = 0) SELECT count(*) FROM frames
WITH videos AS (SELECT 1 AS video_id, 'mine' AS name) SELECT f.frame, v.name FROM frames f JOIN videos v USING (video_id)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT f.frame FROM frames f JOIN n ON f.video_id = n.i WHERE CLIP_MATCH(f.frame, 'a dog') > 0.1
WITH RECURSIVE t(frame, seconds) AS (SELECT frame, seconds FROM frames WHERE seconds = 0 AND video_id = 2 UNION ALL SELECT f.frame, f.seconds FROM t JOIN frames f ON f.video_id = 2 AND f.seconds = t.seconds + 0.5) SELECT * FROM t
WITH RECURSIVE t(id) AS (SELECT 1 UNION SELECT v.video_id FROM t JOIN videos v ON v.video_id = t.id + 1 WHERE v.width < 300) SELECT * FROM t
SELECT (WITH c AS (SELECT max(seconds) AS m FROM frames) SELECT m FROM c) AS m
SELECT v.name, (WITH c AS (SELECT f.seconds FROM frames f WHERE f.video_id = v.video_id) SELECT count(*) FROM c) AS n FROM videos v
-- names that shadow
SELECT f.seconds + 100 AS seconds FROM frames f WHERE seconds < 3
SELECT f.seconds + 100 AS seconds FROM frames f WHERE f.seconds < 1
SELECT f.seconds + 100 AS seconds FROM frames f JOIN videos v USING (video_id) WHERE seconds < 1
SELECT f.seconds + 100 AS seconds FROM frames f, (SELECT 1 AS one) d WHERE seconds < 1
SELECT f.seconds + 100 AS late FROM frames f WHERE late < 101
SELECT f.seconds + 100 AS late FROM frames f, (SELECT 1 AS one) d WHERE late < 101
SELECT video_id + 10 AS video_id FROM videos WHERE video_id < 3
SELECT video_id + 10 AS video_id FROM videos ORDER BY video_id DESC LIMIT 2
SELECT -video_id AS video_id FROM videos ORDER BY video_id LIMIT 2
SELECT -video_id AS video_id, count(*) AS n FROM frames GROUP BY video_id
SELECT name AS codec, codec AS name FROM videos WHERE codec = 'h264'
SELECT -CLIP_MATCH(frame, 'a dog') AS seconds, frame FROM frames ORDER BY seconds LIMIT 3
SELECT CLIP_MATCH(frame, 'a dog') AS frame FROM frames WHERE frame > 5000
SELECT CLIP_MATCH(frame, 'a dog') AS video_id FROM frames WHERE video_id = 2
SELECT CLIP_MATCH(frame, 'a cat') AS s, frame FROM (SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames) WHERE s > 0.3
SELECT v.video_id FROM videos v WHERE EXISTS (SELECT 1 FROM gops v WHERE v.video_id = 2 AND gop = 0)
SELECT video_id FROM videos WHERE EXISTS (SELECT 1 FROM gops WHERE video_id = 2 AND gop = 0)
SELECT video_id FROM videos WHERE EXISTS (SELECT 1 FROM gops WHERE gops.video_id = videos.video_id AND gop = 2)
SELECT video_id FROM videos WHERE video_id IN (SELECT video_id FROM gops WHERE width > 300)
SELECT video_id FROM videos WHERE video_id IN (SELECT gop FROM gops WHERE gops.video_id = videos.video_id)
SELECT name FROM videos v WHERE (SELECT count(*) FROM gops WHERE video_id = v.video_id AND start_seconds < duration_seconds - 2) > 1
SELECT name FROM videos WHERE width = (SELECT max(width) FROM videos)
SELECT name FROM videos v WHERE width = (SELECT max(width) FROM videos w WHERE w.codec = v.codec)
SELECT s.seconds FROM (SELECT frame AS seconds FROM frames) s WHERE seconds > 6000
SELECT a.b FROM (SELECT {'b': video_id, 'c': name} AS a FROM videos) WHERE a.b < 3
-- set operations
SELECT video_id FROM frames UNION SELECT video_id FROM videos
SELECT video_id FROM videos UNION ALL SELECT video_id FROM frames WHERE seconds = 0
SELECT video_id FROM videos EXCEPT SELECT video_id FROM frames
SELECT video_id FROM videos INTERSECT SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3 UNION SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a cat') > 0.3
SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3 INTERSECT SELECT frame FROM frames WHERE seconds > 1
SELECT frame FROM frames WHERE IS_MATCH(frame, 'a dog') EXCEPT SELECT frame FROM frames WHERE IS_MATCH(frame, 'a cat')
(SELECT frame, CLIP_MATCH(frame, 'a dog') AS s FROM frames ORDER BY s DESC LIMIT 2) UNION ALL (SELECT frame, CLIP_MATCH(frame, 'a cat') FROM frames ORDER BY 2 DESC LIMIT 2)
SELECT * FROM (SELECT video_id FROM videos UNION ALL SELECT video_id FROM frames) WHERE video_id = 2
SELECT * FROM (SELECT video_id AS a FROM videos UNION SELECT frame FROM frames) WHERE a > 1 AND a < 1003
SELECT * FROM (SELECT video_id AS a FROM videos EXCEPT SELECT gop FROM gops) WHERE a < 4
SELECT * FROM (SELECT video_id, 'video' AS kind FROM videos UNION ALL SELECT video_id, 'gop' FROM gops) WHERE kind = 'gop' AND video_id = 1
SELECT * FROM (SELECT video_id::VARCHAR AS a FROM videos UNION ALL SELECT name FROM videos) WHERE a > '5'
SELECT * FROM (SELECT video_id AS a FROM videos UNION ALL SELECT seconds FROM frames) WHERE a = 1.5
SELECT video_id, name FROM videos UNION BY NAME SELECT video_id, gop FROM gops WHERE gop = 0
SELECT * FROM videos WHERE video_id < 3 UNION ALL BY NAME SELECT video_id, name FROM videos WHERE video_id = 3
SELECT count(*) FROM (SELECT video_id FROM videos UNION ALL SELECT video_id FROM videos)
SELECT 'dog' AS what, count(*) AS n FROM frames WHERE IS_MATCH(frame, 'a dog') UNION ALL SELECT 'cat', count(*) FROM frames WHERE IS_MATCH(frame, 'a cat') UNION ALL SELECT 'car', count(*) FROM frames WHERE IS_MATCH(frame, 'a red car')
SELECT video_id FROM videos UNION SELECT video_id FROM frames ORDER BY video_id LIMIT 3
SELECT video_id FROM frames EXCEPT ALL SELECT video_id FROM gops
-- pivots and lists
SELECT * FROM (SELECT video_id, picture, CLIP_MATCH(frame, 'a dog') AS s FROM frames) PIVOT (max(s) FOR picture IN ('I', 'P'))
SELECT * FROM (SELECT video_id, picture, frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0) PIVOT (count(frame) FOR picture IN ('I', 'P'))
WITH s AS (SELECT video_id, seconds, CLIP_MATCH(frame, 'a dog') AS s FROM frames) PIVOT s ON seconds IN (0, 1) USING max(s) GROUP BY video_id
PIVOT frames ON picture IN ('I', 'P') USING count(*) GROUP BY video_id
FROM frames PIVOT (count(*) FOR picture IN ('I', 'P') GROUP BY video_id)
SELECT * FROM (SELECT video_id, width, height FROM videos) UNPIVOT (size FOR side IN (width, height))
UNPIVOT (SELECT frame, CLIP_MATCH(frame, 'a dog') AS dog, CLIP_MATCH(frame, 'a cat') AS cat FROM frames) ON dog, cat INTO NAME what VALUE s
PIVOT frames ON picture USING count(*) GROUP BY video_id
SELECT * FROM (PIVOT (SELECT video_id, picture, CLIP_MATCH(frame, 'a dog') AS s FROM frames) ON picture USING max(s)) p
WITH s AS (SELECT v.camera, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id)) PIVOT s ON camera USING max(s), count(*) AS n
PIVOT videos ON width USING count(*) GROUP BY codec ORDER BY codec
PIVOT videos ON kept, codec USING count(*) GROUP BY status
PIVOT videos ON width // 100 USING count(*) GROUP BY codec
PIVOT videos ON recorded_at USING count(*) GROUP BY codec
SELECT p.* FROM (PIVOT (SELECT video_id, seconds, frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.2) ON seconds USING count(frame) GROUP BY video_id) p WHERE video_id < 4
SELECT video_id, list(frame ORDER BY frame) FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0 GROUP BY video_id
SELECT list_transform(list(video_id ORDER BY video_id), lambda x: x + 1) FROM videos
SELECT list_filter([1, 2, 3], lambda x: x > 1) AS l
SELECT video_id, list_contains([1, 3], video_id) FROM videos
SELECT frame FROM frames WHERE list_contains([1, 3], video_id) AND CLIP_MATCH(frame, 'a dog') > 0
SELECT frame FROM frames WHERE video_id IN [1, 3]
SELECT [x * 2 FOR x IN [1, 2, 3] IF x > 1] AS l
SELECT map([1, 2], ['a', 'b'])[1] AS m
-- questions
SELECT name, VIDEO_QA(video_id, 'what?') FROM videos
SELECT name, VIDEO_QA(video_id, 'what?').answer AS a FROM videos WHERE video_id < 3
SELECT name, VIDEO_QA(video_id, 'what?', ['x', 'y']).answer AS a FROM videos
SELECT name FROM videos WHERE VIDEO_QA(video_id, 'what?', ['x', 'y']).answer = 'x'
SELECT name FROM videos WHERE VIDEO_QA(video_id, 'what?', ['x', 'y']).answer = 'x' AND width > 200
SELECT VIDEO_QA(video_id, 'what?', ['x', 'y']).answer AS a, count(*) FROM videos GROUP BY a
SELECT f.frame, VIDEO_QA(f.video_id, 'what?', ['x', 'y']).answer AS a FROM frames f WHERE CLIP_MATCH(f.frame, 'a dog') > 0.3
SELECT v.name, VIDEO_QA(v.video_id, 'what?').stop_seconds AS s FROM videos v JOIN frames f USING (video_id) WHERE f.seconds = 0
SELECT v.name, q.answer FROM (SELECT name, VIDEO_QA(video_id, 'what?', ['x', 'y']) AS q FROM videos) v WHERE q.answer = 'y'
SELECT f.frame, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f WHERE VIDEO_QA(f.video_id, 'what?', ['x', 'y']).answer = 'x' ORDER BY s DESC LIMIT 3
SELECT name FROM videos WHERE VIDEO_QA(video_id, 'what?') IS NULL
SELECT (VIDEO_QA(video_id, 'what?')).confidence AS c FROM videos ORDER BY video_id LIMIT 2
VALUES (1, 'a'), (2, 'b')
SELECT p.* FROM (PIVOT (SELECT video_id, picture, CLIP_MATCH(frame, 'a dog') AS s FROM frames) ON picture IN ('I', 'P') USING max(s)) p
UNPIVOT (SELECT video_id, width, height FROM videos) ON width, height INTO NAME side VALUE size
-- what an answer is made of
SELECT video_id, name, (SELECT count(*) FROM gops g WHERE g.video_id = v.video_id) AS gops, (SELECT count(*) FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.2) AS dogs FROM videos v
SELECT v.name, f.seconds, CLIP_MATCH(f.frame, 'a dog') AS score FROM frames f JOIN videos v USING (video_id) WHERE v.name LIKE 'v%' AND f.seconds < 2 ORDER BY score DESC LIMIT 10
SELECT v.name, count(*) AS hits, min(f.seconds) AS first, max(f.seconds) AS last FROM frames f JOIN videos v USING (video_id) WHERE CLIP_MATCH(f.frame, 'a dog') > 0.1 GROUP BY v.name ORDER BY hits DESC, v.name
WITH hits AS (SELECT video_id, seconds, seconds - 0.5 * row_number() OVER (PARTITION BY video_id ORDER BY seconds) AS island FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0) SELECT video_id, min(seconds) AS start, max(seconds) AS stop, count(*) AS n FROM hits GROUP BY video_id, island
WITH dog AS (SELECT video_id, seconds FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.2), cat AS (SELECT video_id, seconds FROM frames WHERE CLIP_MATCH(frame, 'a cat') > 0.2) SELECT d.video_id, d.seconds, min(c.seconds) AS then FROM dog d JOIN cat c ON c.video_id = d.video_id AND c.seconds > d.seconds GROUP BY ALL
WITH dog AS (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.2), cat AS (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a cat') > 0.2) SELECT DISTINCT video_id FROM dog WHERE video_id NOT IN (SELECT video_id FROM cat)
SELECT f.frame, s.text, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f, (VALUES ('a dog'), ('a cat')) s(text) WHERE f.video_id = 2 AND f.seconds = 1
SELECT video_id, max(CLIP_MATCH(frame, 'a dog')) - avg(CLIP_MATCH(frame, 'a dog')) AS peak FROM frames GROUP BY video_id ORDER BY peak DESC LIMIT 1
SELECT CASE WHEN a > b THEN 'dog' ELSE 'cat' END AS what, count(*) FROM (SELECT CLIP_MATCH(frame, 'a dog') AS a, CLIP_MATCH(frame, 'a cat') AS b FROM frames) GROUP BY what
SELECT v.name, f.frame FROM videos v JOIN frames f USING (video_id) WHERE (v.codec = 'h264' AND CLIP_MATCH(f.frame, 'a dog') > 0.2) OR (v.codec <> 'h264' AND CLIP_MATCH(f.frame, 'a cat') > 0.2)
-- what users have said of videos, and when they were recorded
SELECT name, camera, lanes, kept, checked FROM videos ORDER BY video_id
SELECT * FROM videos ORDER BY video_id
SELECT * EXCLUDE (path, error) FROM videos WHERE camera = 'north' ORDER BY name
SELECT camera, count(*) AS n, sum(lanes) AS lanes FROM videos GROUP BY camera ORDER BY n DESC, camera
SELECT name FROM videos WHERE camera IN ('north', 'south') AND lanes >= 2.5
SELECT name FROM videos WHERE kept
SELECT name FROM videos WHERE NOT kept OR kept IS NULL ORDER BY name
SELECT name FROM videos WHERE camera IS NULL
SELECT name, recorded_at FROM videos WHERE recorded_at >= '2026-03-01' ORDER BY recorded_at
SELECT name, recorded_at::DATE AS day FROM videos WHERE recorded_at BETWEEN '2026-02-01' AND '2026-03-01 12:00' ORDER BY day
SELECT date_trunc('day', recorded_at) AS day, count(*) AS n FROM videos GROUP BY day ORDER BY day
SELECT name, recorded_from FROM videos WHERE recorded_from = 'given'
SELECT folder, count(*) AS n FROM videos GROUP BY folder
SELECT f.frame, f.at FROM frames f WHERE f.at >= '2026-03-01 23:59:59.5' ORDER BY f.frame
SELECT f.frame, f.at FROM frames f WHERE f.at > TIMESTAMP '2026-03-01 08:00:01' AND f.at < TIMESTAMP '2026-03-01 08:00:02.5'
SELECT f.frame FROM frames f WHERE f.at::DATE = '2026-03-02' OR CLIP_MATCH(f.frame, 'a dog') > 0.4
SELECT v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id) WHERE f.at::DATE BETWEEN DATE '2026-02-28' AND DATE '2026-03-01' AND f.at <= '2026-03-01 08:00:02' ORDER BY s DESC, f.frame LIMIT 6
SELECT min(f.at) AS first, max(f.at) AS last, count(f.at) AS n FROM frames f
SELECT v.camera, date_trunc('minute', f.at) AS minute, max(CLIP_MATCH(f.frame, 'a dog')) AS dog FROM frames f JOIN videos v USING (video_id) WHERE v.camera = 'north' GROUP BY ALL ORDER BY ALL
SELECT v.name, f.at, CLIP_MATCH(f.frame, 'a cat') AS s FROM frames f JOIN videos v USING (video_id) WHERE f.at IS NOT NULL ORDER BY s DESC LIMIT 5
SELECT v.name, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v ON v.video_id = f.video_id AND v.camera = 'south' WHERE CLIP_MATCH(f.frame, 'a dog') > 0.3 ORDER BY s DESC
SELECT v.name FROM videos v WHERE v.lanes > 1 AND EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.5)
SELECT a.name, b.name AS other FROM videos a JOIN videos b ON a.camera = b.camera AND a.video_id < b.video_id
SELECT hour(f.at) AS hour, count(*) AS n FROM frames f WHERE f.at IS NOT NULL GROUP BY hour ORDER BY hour
SELECT f.frame, date_diff('ms', lag(f.at) OVER (PARTITION BY f.video_id ORDER BY f.seconds), f.at) AS step FROM frames f WHERE f.video_id IN (1, 3) ORDER BY f.frame
DESCRIBE videos
DESCRIBE frames
DESCRIBE gops
DESCRIBE SELECT v.name, v.camera, count(*) AS n, max(f.at) AS last, [1.5] AS l, {'a': 1, 'b': 'x'} AS s, 1.5::DECIMAL(9, 2) AS d, DATE '2026-03-01' AS t FROM videos v JOIN frames f USING (video_id) GROUP BY ALL
SELECT * FROM (VALUES ('north', 'gate'), ('south', 'yard')) AS c(camera, place) JOIN videos v USING (camera) ORDER BY v.video_id
PIVOT videos ON camera IN ('north', 'south') USING count(*) GROUP BY codec ORDER BY codec
PIVOT (SELECT v.camera, f.picture, CLIP_MATCH(f.frame, 'a dog') AS s FROM frames f JOIN videos v USING (video_id)) ON picture IN ('I', 'P') USING max(s) GROUP BY camera ORDER BY camera
WITH n AS (SELECT * FROM videos WHERE lanes > 1) PIVOT n ON camera IN ('north', 'south') USING count(*) GROUP BY codec ORDER BY codec LIMIT 1
UNPIVOT (SELECT video_id, width, height FROM videos) ON width, height INTO NAME what VALUE pixels ORDER BY ALL LIMIT 3
-- a comma joins after JOIN has
SELECT count(*) AS n FROM frames f1, frames f2 RIGHT JOIN frames f5 ON f5.seconds BETWEEN 2 AND 0.5 WHERE f1.video_id <= 6
SELECT v.name, f.frame, g.gop FROM videos v, frames f LEFT JOIN gops g ON g.video_id = f.video_id AND g.gop = 9 WHERE v.video_id = f.video_id AND v.width < 200 ORDER BY f.frame
SELECT v.name, g.gop FROM gops g LEFT JOIN frames f ON f.video_id = g.video_id AND f.seconds > 99, videos v WHERE v.video_id = g.video_id AND f.frame IS NULL ORDER BY ALL
-- items without a name whose inner queries score
SELECT v.name, (SELECT max(CLIP_MATCH(frame, 'a dog')) FROM frames f WHERE f.video_id = v.video_id) FROM videos v
SELECT (SELECT max(s) FROM (SELECT CLIP_MATCH(frame, 'a dog') AS s FROM frames) d) + 1
SELECT EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.5) FROM videos v
SELECT NOT EXISTS (SELECT 1 FROM (SELECT *, CLIP_MATCH(frame, 'a dog') AS s FROM frames) d WHERE d.video_id = v.video_id AND d.s > 0.5), v.name FROM videos v
SELECT video_id IN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.5) FROM videos
SELECT ARRAY(SELECT frame FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.3 ORDER BY frame)
SELECT CASE WHEN (SELECT count(*) FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.3) > 1 THEN 'dogs' ELSE name END FROM videos v
SELECT frame, CLIP_MATCH(frame, 'a dog') > (SELECT avg(CLIP_MATCH(frame, 'a dog')) FROM frames) FROM frames
SELECT (SELECT (SELECT max(CLIP_MATCH(g.frame, 'a cat')) FROM frames g WHERE g.video_id = f.video_id) FROM frames f WHERE f.video_id = v.video_id LIMIT 1) FROM videos v
-- queries in brackets with what is joined to them
SELECT p.seconds FROM ((SELECT video_id, seconds FROM frames) p JOIN frames a ON a.video_id = p.video_id AND a.seconds = p.seconds) WHERE p.seconds > 2
SELECT p.seconds, CLIP_MATCH(a.frame, 'a dog') FROM ((SELECT video_id, seconds FROM frames) p JOIN frames a ON a.video_id = p.video_id AND a.seconds = p.seconds) WHERE p.seconds > 1
SELECT p.frame FROM ((SELECT * FROM frames) p SEMI JOIN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.5) q USING (video_id))
SELECT p.frame FROM ((SELECT * FROM frames) p ANTI JOIN (SELECT video_id FROM frames WHERE CLIP_MATCH(frame, 'a dog') > 0.5) q USING (video_id))
SELECT v.name, x.frame, x.s FROM videos v LEFT JOIN ((SELECT frame, video_id, CLIP_MATCH(frame, 'a dog') AS s FROM frames) x JOIN (SELECT frame FROM frames WHERE seconds < 1) p ON p.frame = x.frame AND x.s > 0.3) ON x.video_id = v.video_id
SELECT count(*) FROM (((SELECT * FROM videos) a JOIN (SELECT * FROM frames) b USING (video_id)) LEFT JOIN gops g ON g.video_id = a.video_id AND g.gop = 1)
SELECT * FROM ((SELECT video_id, name FROM videos) a CROSS JOIN (SELECT max(CLIP_MATCH(frame, 'a cat')) AS m FROM frames) b)
SELECT d.frame FROM ((SELECT frame FROM frames ORDER BY CLIP_MATCH(frame, 'a dog') DESC LIMIT 3) d JOIN frames f ON f.frame = d.frame AND f.seconds >= 0)
SELECT MAP {} AS a, [NULL, NULL] AS b, {'c': [MAP {}]} AS c, [] AS d, NULL AS e
SELECT v.video_id, MAP {} AS m, [NULL] AS n FROM videos v WHERE EXISTS (SELECT 1 FROM frames f WHERE f.video_id = v.video_id AND CLIP_MATCH(f.frame, 'a dog') > 0.1)
WITH frames AS (SELECT * FROM frames WHERE seconds < 1) SELECT count(*), max(CLIP_MATCH(frame, $$a dog$$)) FROM frames
SELECT f.frame FROM frames f WHERE CLIP_MATCH(f.frame, E'a dog') > 0.1 AND f.picture = 'I' -- what
SELECT "F"."FRAME" AS "a$b", CLIP_MATCH(frame, 'a cat')AS s FROM "Frames"AS f ORDER BY s DESC LIMIT 2
