-- Sixteen indexes over vectors instead of one: the fewer people share one, the less of others a search walks through.

CREATE FUNCTION slot_of(person uuid) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT get_byte(uuid_send(person), 15) % 16 $$;
COMMENT ON FUNCTION slot_of(uuid) IS 'In which of the indexes over vectors somebody''s passages are.';

DROP INDEX memories_by_meaning;
-- An index over vectors knows nothing of people: the fewer share one, the less of others is walked through, and the
-- smaller it is. `nearest_passages` names the one that it needs.
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE INDEX %I ON memories USING hnsw (embedding halfvec_cosine_ops) WHERE slot_of(user_id) = %s',
            'memories_by_meaning_' || slot, slot);
    END LOOP;
END
$$;

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
    -- To find `wanted` of F rows among the N of an index, it is walked past wanted * N / F of them; reading the F costs
    -- F. So up to the root of wanted * N every one is compared, which also finds all of a person who has little.
    affordable CONSTANT integer := (SELECT least(50000, greatest(1000, ceil(sqrt(wanted * greatest(c.reltuples, 0)))))
        FROM pg_class c WHERE c.oid = to_regclass('memories_by_meaning_' || slot_of(person)));
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
        -- The slot is written into the statement: of a parameter the planner cannot say which index covers it.
        RETURN QUERY EXECUTE format($statement$
            SELECT m.job_id, m.index, m.ordinal, m.file_id, m.embedding <=> $2
            FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
            WHERE slot_of(m.user_id) = %s AND m.user_id = $1 AND m.model = $3
                AND file_fits(f, $5, $6, $7, $8, $9, $10)
                AND ($13 IS NULL OR f.file_id <> $13)
                AND ($11 IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = $1 AND e.kind = $11 AND e.key = entity_key($12)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
            ORDER BY m.embedding <=> $2 LIMIT $4 $statement$, slot_of(person))
        USING person, query_vector, query_model, wanted, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name, besides;
    END IF;
END
$$;
