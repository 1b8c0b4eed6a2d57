-- Search among the words of one person: the full-text index is keyed by person and word. Fewer neighbours are walked to,
-- and filters are part of the plan: `file_fits` is STABLE, as jsonb_build_array is, and so can be inlined.
-- Who is named is looked for by key: one entity, however it is written.

CREATE FUNCTION words_of(person uuid, words tsvector) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A word of two thousand bytes is none, and with the person before it Postgres would refuse it.
    SELECT array_to_tsvector(ARRAY(
        SELECT left(person::text, 8) || '|' || word FROM unnest(tsvector_to_array(words)) word
        WHERE octet_length(word) <= 2000))
$$;
COMMENT ON FUNCTION words_of(uuid, tsvector) IS 'Each word with its person before it, as the full-text index holds them.';

CREATE FUNCTION sought_of(person uuid, sought tsquery) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(
        -- Places are not in the index, and what must not be there narrows nothing down: `words @@ sought` decides.
        regexp_replace(coalesce(nullif(nullif(querytree(sought), ''), 'T'), '''' || left(person::text, 8) || '|'''),
            ' <(-|[0-9]+)> ', ' & ', 'g'),
        '''((?:[^'']|'''')+)''', '''' || left(person::text, 8) || '|\1''', 'g')::tsquery
$$;
COMMENT ON FUNCTION sought_of(uuid, tsquery) IS
    'What finds in `words_of(person, ...)` everything that a query matches, and maybe more; all, if it only excludes.';

DROP INDEX memories_by_words;
CREATE INDEX memories_by_words ON memories USING gin (words_of(user_id, words));
ALTER INDEX memories_by_words ALTER COLUMN 1 SET STATISTICS 0;

ALTER FUNCTION file_fits STABLE;

DROP INDEX entities_by_name;

CREATE OR REPLACE FUNCTION nearest_passages(
    query_vector halfvec(768), query_model text, wanted integer, kinds text[] DEFAULT NULL, folders text[] DEFAULT NULL,
    owner text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, drive text DEFAULT NULL,
    entity_kind text DEFAULT NULL, entity_name text DEFAULT NULL, besides text DEFAULT NULL
) RETURNS TABLE (job_id uuid, index bigint, ordinal integer, file_id text, distance double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan
    SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 200
    SET hnsw.max_scan_tuples = 40000 SET hnsw.scan_mem_multiplier = 4
    SET enable_seqscan = off SET enable_sort = off -- the order must come from the index, not from reading everything
    AS $$
#variable_conflict use_column
DECLARE
    person CONSTANT uuid := app_user_id();
    -- To find `wanted` of F rows among N, the index is walked past wanted * N / F of them; reading the F costs F.
    -- So up to the root of wanted * N every one is compared, which also finds all of a person who has little.
    affordable CONSTANT integer := (SELECT least(50000, greatest(1000, ceil(sqrt(wanted * greatest(c.reltuples, 0)))))
        FROM pg_class c WHERE c.oid = 'memories'::regclass);
    narrow CONSTANT boolean := coalesce(kinds[1], folders[1], owner, since::text, until::text, drive, entity_kind, besides)
        IS NOT NULL;
    few boolean;
BEGIN
    IF query_vector IS NULL OR person IS NULL THEN
        RETURN;
    ELSIF narrow THEN
        SELECT count(*) < affordable INTO few FROM (
            SELECT FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id
            WHERE f.user_id = person AND file_fits(f, kinds, folders, owner, since, until, drive)
                AND (besides IS NULL OR f.file_id <> besides)
                AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
            LIMIT affordable) counted;
    ELSE
        SELECT count(*) < affordable INTO few FROM (
            SELECT FROM memories m WHERE m.user_id = person LIMIT affordable) counted;
    END IF;
    IF few THEN
        RETURN QUERY
        SELECT m.job_id, m.index, m.ordinal, m.file_id, (m.embedding <=> query_vector) + 0
        FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id
        WHERE f.user_id = person AND m.user_id = person AND m.model = query_model AND m.embedding IS NOT NULL
            AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (besides IS NULL OR f.file_id <> besides)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
        ORDER BY (m.embedding <=> query_vector) + 0, m.job_id, m.index, m.ordinal LIMIT wanted;
    ELSE
        RETURN QUERY
        SELECT m.job_id, m.index, m.ordinal, m.file_id, m.embedding <=> query_vector
        FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
        WHERE m.user_id = person AND m.model = query_model
            AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (besides IS NULL OR f.file_id <> besides)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
        ORDER BY m.embedding <=> query_vector LIMIT wanted;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION search_passages(
    query text, query_vector halfvec(768), query_model text, result_limit integer, candidates integer DEFAULT 60,
    parts text DEFAULT NULL, run text DEFAULT NULL, kinds text[] DEFAULT NULL, folder text DEFAULT NULL,
    owner text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, drive text DEFAULT NULL,
    entity_kind text DEFAULT NULL, entity_name text DEFAULT NULL
) RETURNS TABLE (
    file_id text, job_id uuid, index bigint, ordinal integer, passage text, locator jsonb, score double precision,
    matched text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
#variable_conflict use_column
DECLARE
    -- What a place in a list is worth: 1 / (constant + place). A small constant is a list that is believed.
    by_meaning CONSTANT integer := 60;
    by_words CONSTANT integer := 40;
    by_phrase CONSTANT integer := 30;
    by_name CONSTANT integer := 20;
    by_parts CONSTANT integer := 50; -- before meaning: below the last of its list no part would be seen
    sentence_bonus CONSTANT double precision := 1; -- several words that stand as they were typed are what was looked for
    farthest CONSTANT double precision := 0.98; -- cosine distance of what has nothing to do with the query
    -- At most so many passages with all the words are compared with each other: each of them is read.
    ranked CONSTANT integer := CASE WHEN query_vector IS NULL THEN 300 ELSE 100 END;
    -- Each further neighbour is as long a walk through those of everybody, and the last ones decide nothing.
    neighbours CONSTANT integer := greatest(result_limit, candidates * 2 / 5);
    -- Passages with some of the words: never so many that they fill a page before what is near in meaning.
    loose CONSTANT integer := CASE WHEN query_vector IS NULL THEN candidates ELSE 5 END;
    person CONSTANT uuid := app_user_id();
    -- Terms have the person before them in the passage, too: they are no words that somebody could have typed.
    mark CONSTANT text := left(person::text, 8) || '|';
    asked CONSTANT tsquery := websearch_to_tsquery('simple', query) || websearch_to_tsquery('english', query);
    phrase CONSTANT tsquery := phraseto_tsquery('simple', query);
    resembling CONSTANT tsquery := replace(parts, '@', mark)::tsquery;
    -- Any of the words, English ones without those that say nothing, and of the terms those that are no ASCII. Not for
    -- who excludes a word or asks for it as it stands.
    loosely CONSTANT tsquery := CASE WHEN asked::text NOT LIKE '%!%' AND strpos(query, '"') = 0 THEN
        replace(plainto_tsquery('english', query)::text, '&', '|')::tsquery || coalesce((
            SELECT string_agg(replace(part, '@', mark), ' | ') FROM regexp_split_to_table(parts, ' & ') part
            WHERE octet_length(part) > length(part)), '')::tsquery END;
    folders CONSTANT text[] := CASE WHEN folder IS NOT NULL THEN folders_below(folder) END;
BEGIN
    RETURN QUERY
    WITH meaning AS (
        SELECT n.job_id, n.index, n.ordinal, n.file_id,
               row_number() OVER (ORDER BY n.distance, n.job_id, n.index, n.ordinal) AS place
        FROM nearest_passages(query_vector, query_model, neighbours, kinds, folders, owner, since, until, drive,
            entity_kind, entity_name) n
        WHERE n.distance < farthest
    ),
    matching AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank_cd(m.words, asked, 1) AS rank,
               numnode(phrase) > 0 AND m.words @@ phrase AS exact
        -- Fenced by OFFSET, with a person filter that no B-tree can take: only the GIN index is left.
        FROM (SELECT * FROM memories WHERE words_of(user_id, words) @@ sought_of(person, asked)
                AND (user_id = person) IS TRUE AND (words @@ asked) IS TRUE OFFSET 0) m
        JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
        WHERE numnode(asked) > 0 AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
        LIMIT ranked
    ),
    worded AS MATERIALIZED (
        SELECT * FROM (
            SELECT * FROM matching
            UNION
            -- Words that are nearly everywhere: what is near in meaning is ranked by them in any case.
            SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank_cd(m.words, asked, 1),
                numnode(phrase) > 0 AND m.words @@ phrase
            FROM meaning n JOIN memories m ON m.job_id = n.job_id AND m.index = n.index AND m.ordinal = n.ordinal
            WHERE m.user_id = person AND (m.words @@ asked) IS TRUE AND (SELECT count(*) FROM matching) = ranked
        ) m
        ORDER BY exact DESC, rank DESC, job_id, index, ordinal LIMIT candidates
    ),
    words AS (
        SELECT w.job_id, w.index, w.ordinal, w.file_id, w.exact,
               row_number() OVER (ORDER BY w.exact DESC, w.rank DESC, w.job_id, w.index, w.ordinal) AS place
        FROM worded w
    ),
    -- Runs of a script without spaces, words that begin or end so, words without their accents: where words find little.
    parted AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, run IS NOT NULL AND strpos(m.passage, run) > 0 AS whole,
               ts_rank(m.words, resembling, 1) AS rank
        FROM (
            SELECT m.job_id, m.index, m.ordinal, m.file_id, m.passage, m.words
            FROM (SELECT * FROM memories WHERE words_of(user_id, words) @@ sought_of(person, resembling)
                AND (user_id = person) IS TRUE AND (words @@ resembling) IS TRUE OFFSET 0) m
            JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
            WHERE numnode(resembling) > 0 AND (SELECT count(*) FROM worded) < result_limit
                AND file_fits(f, kinds, folders, owner, since, until, drive)
                AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
                AND NOT EXISTS (SELECT FROM worded w
                    WHERE w.job_id = m.job_id AND w.index = m.index AND w.ordinal = m.ordinal)
            LIMIT ranked
        ) m
        ORDER BY whole DESC, rank DESC, m.job_id, m.index, m.ordinal LIMIT candidates
    ),
    parts AS (
        SELECT p.job_id, p.index, p.ordinal, p.file_id, p.whole,
               row_number() OVER (ORDER BY p.whole DESC, p.rank DESC, p.job_id, p.index, p.ordinal) AS place
        FROM parted p
    ),
    named AS (
        SELECT f.file_id, f.visible_job AS job_id,
               row_number() OVER (ORDER BY ts_rank_cd(f.name_words, asked, 1) DESC, f.modified_time DESC, f.file_id)
                   AS place
        FROM gdrive_files f
        WHERE f.user_id = person AND f.name_words @@ asked AND f.state NOT IN ('deleted', 'folder')
            AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = f.visible_job))
        LIMIT candidates
    ),
    -- Where nothing has all of it, in its words, their parts or a name: what has most of it.
    scattered AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank(m.words, loosely) AS rank
        FROM (
            SELECT m.job_id, m.index, m.ordinal, m.file_id, m.words
            FROM (SELECT * FROM memories WHERE words_of(user_id, words) @@ sought_of(person, loosely)
                AND (user_id = person) IS TRUE AND (words @@ loosely) IS TRUE OFFSET 0) m
            JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
            WHERE numnode(loosely) > 0 AND NOT EXISTS (SELECT FROM worded)
                AND NOT EXISTS (SELECT FROM parted) AND NOT EXISTS (SELECT FROM named)
                AND file_fits(f, kinds, folders, owner, since, until, drive)
                AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
            LIMIT ranked
        ) m
        ORDER BY rank DESC, m.job_id, m.index, m.ordinal LIMIT loose
    ),
    fragments AS (
        SELECT s.job_id, s.index, s.ordinal, s.file_id,
               row_number() OVER (ORDER BY s.rank DESC, s.job_id, s.index, s.ordinal) AS place
        FROM scattered s
    ),
    places AS (
        SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_meaning + place) AS points, 'meaning' AS list
        FROM meaning p
        UNION ALL SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_words + place), 'words' FROM words p
        UNION ALL
        SELECT p.job_id, p.index, p.ordinal, p.file_id,
            1.0 / (by_phrase + place) + CASE WHEN numnode(phrase) > 1 THEN sentence_bonus ELSE 0 END, 'phrase'
        FROM words p WHERE exact
        UNION ALL
        -- What stands whole in a script without spaces is a word like any other.
        SELECT p.job_id, p.index, p.ordinal, p.file_id,
            1.0 / (CASE WHEN whole THEN by_words ELSE by_parts END + place), CASE WHEN whole THEN 'words' ELSE 'parts' END
        FROM parts p
        UNION ALL SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_words + place), 'some' FROM fragments p
        UNION ALL
        -- A name speaks for the file's first passage, or for the file alone while it has none.
        SELECT n.job_id, first.index, first.ordinal, n.file_id, 1.0 / (by_name + n.place), 'name'
        FROM named n LEFT JOIN LATERAL (
            SELECT m.index, m.ordinal FROM memories m
            WHERE m.job_id = n.job_id AND m.user_id = person ORDER BY m.index, m.ordinal LIMIT 1
        ) first ON true
    ),
    fused AS (
        SELECT p.file_id, p.job_id, p.index, p.ordinal, sum(p.points)::double precision AS score,
               array_agg(DISTINCT p.list ORDER BY p.list) AS matched
        FROM places p GROUP BY p.file_id, p.job_id, p.index, p.ordinal
        ORDER BY score DESC, p.file_id, p.index, p.ordinal LIMIT result_limit
    )
    SELECT u.file_id, u.job_id, u.index, u.ordinal, m.passage, m.locator, u.score, u.matched
    FROM fused u LEFT JOIN memories m
        ON m.job_id = u.job_id AND m.index = u.index AND m.ordinal = u.ordinal AND m.user_id = person
    ORDER BY u.score DESC, u.file_id, u.index, u.ordinal;
END
$$;
