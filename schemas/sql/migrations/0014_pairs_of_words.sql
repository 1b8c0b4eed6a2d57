-- Where nothing has all the words, what has two of them comes before what has one, which may be a common one; and the
-- full-text index is asked for stems alone, which are in whatever has the words.

CREATE FUNCTION passages_with(
    sieve tsquery, sought tsquery, most integer, kinds text[], folders text[], owner text, since timestamptz,
    until timestamptz, drive text, entity_kind text, entity_name text
) RETURNS SETOF memories LANGUAGE sql STABLE AS $$
    SELECT m.*
    -- Fenced by OFFSET, with a person filter that no B-tree can take: only the GIN index is left.
    FROM (SELECT * FROM memories WHERE words_of(user_id, words) @@ sought_of(app_user_id(), sieve)
            AND (user_id = app_user_id()) IS TRUE AND (words @@ sought) IS TRUE OFFSET 0) m
    JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
    WHERE file_fits(f, kinds, folders, owner, since, until, drive)
        AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
            WHERE e.user_id = app_user_id() AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
    LIMIT most
$$;
COMMENT ON FUNCTION passages_with IS
    'So many of the person''s passages that match a query, whichever come first. The index is asked for what it is sieved by.';

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
    plain CONSTANT tsquery := websearch_to_tsquery('simple', query);
    stems CONSTANT tsquery := websearch_to_tsquery('english', query);
    asked CONSTANT tsquery := plain || stems;
    -- What the index is asked for: what has all the words has all their stems, and these are half as many.
    sieve CONSTANT tsquery := CASE WHEN numnode(stems) > 0 AND plain::text !~ '[!|]' THEN stems ELSE asked END;
    phrase CONSTANT tsquery := phraseto_tsquery('simple', query);
    resembling CONSTANT tsquery := replace(parts, '@', mark)::tsquery;
    -- Any of the words, English ones without those that say nothing, and of the terms those that are no ASCII. Not for
    -- who excludes a word or asks for it as it stands.
    loosely CONSTANT tsquery := CASE WHEN asked::text NOT LIKE '%!%' AND strpos(query, '"') = 0 THEN
        replace(plainto_tsquery('english', query)::text, '&', '|')::tsquery || coalesce((
            SELECT string_agg(replace(part, '@', mark), ' | ') FROM regexp_split_to_table(parts, ' & ') part
            WHERE octet_length(part) > length(part)), '')::tsquery END;
    -- Two of them, of the eight longest: what has one word alone, and be it a common one, is looked at only after that.
    paired CONSTANT tsquery := CASE WHEN loosely IS NOT NULL THEN (
        WITH longest AS (
            SELECT '''' || replace(replace(word, '\', '\\'), '''', '''''') || '''' AS word
            FROM unnest(tsvector_to_array(to_tsvector('english', query))) word ORDER BY length(word) DESC, word LIMIT 8)
        SELECT coalesce(string_agg(one.word || ' & ' || other.word, ' | '), '')::tsquery
        FROM longest one JOIN longest other ON one.word < other.word WHERE (SELECT count(*) FROM longest) > 2) END;
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
        FROM passages_with(sieve, asked, ranked, kinds, folders, owner, since, until, drive, entity_kind, entity_name) m
        WHERE numnode(asked) > 0
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
        FROM passages_with(resembling, resembling, ranked, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name) m
        WHERE numnode(resembling) > 0 AND (SELECT count(*) FROM worded) < result_limit
            AND NOT EXISTS (SELECT FROM worded w
                WHERE w.job_id = m.job_id AND w.index = m.index AND w.ordinal = m.ordinal)
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
    nothing AS MATERIALIZED (
        SELECT NOT EXISTS (SELECT FROM worded) AND NOT EXISTS (SELECT FROM parted) AND NOT EXISTS (SELECT FROM named)
            AS found
    ),
    coupled AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank(m.words, loosely) AS rank
        FROM passages_with(paired, paired, ranked, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name) m
        WHERE numnode(paired) > 0 AND (SELECT found FROM nothing)
    ),
    scattered AS MATERIALIZED (
        SELECT * FROM (
            SELECT * FROM coupled
            UNION
            SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank(m.words, loosely)
            FROM passages_with(loosely, loosely, ranked, kinds, folders, owner, since, until, drive, entity_kind,
                entity_name) m
            WHERE numnode(loosely) > 0 AND (SELECT found FROM nothing)
                AND (query_vector IS NULL OR NOT EXISTS (SELECT FROM coupled))
        ) m
        ORDER BY rank DESC, job_id, index, ordinal LIMIT loose
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
