-- What reading took this installation, so that a forecast can be made of it: in numbers only, of everybody together.

CREATE FUNCTION instance_tokens() RETURNS TABLE (
    mime_type text, ending text, files bigint, bytes bigint, fresh bigint,
    embedded_tokens bigint, model_input_tokens bigint, model_output_tokens bigint
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH lately AS (
        SELECT f.user_id, f.file_id, f.mime_type, ending_of(f.name) AS ending, f.size,
            coalesce(f.sha256_checksum, f.md5_checksum, f.file_id) AS content
        FROM gdrive_files f
        WHERE f.first_seen_at > app_now() - interval '28 days' AND f.size > 0 AND f.state IN ('indexed', 'skipped')
        ORDER BY f.state_at DESC LIMIT 20000
    ),
    once AS ( -- an edited file has been received more than once, and embedded in parts
        SELECT l.mime_type, l.ending, l.size,
            row_number() OVER (PARTITION BY l.user_id, l.content ORDER BY l.file_id) = 1 AS fresh,
            c.embedded_tokens, c.model_input_tokens, c.model_output_tokens
        FROM lately l CROSS JOIN LATERAL (
            SELECT sum(drive_bytes) AS received, sum(costs.embedded_tokens) AS embedded_tokens,
                sum(costs.model_input_tokens) AS model_input_tokens,
                sum(costs.model_output_tokens) AS model_output_tokens
            FROM costs WHERE costs.user_id = l.user_id AND costs.file_id = l.file_id
        ) c
        WHERE c.received = l.size
    )
    SELECT o.mime_type, o.ending, count(*), sum(o.size)::bigint, count(*) FILTER (WHERE o.fresh),
        sum(o.embedded_tokens)::bigint, sum(o.model_input_tokens)::bigint, sum(o.model_output_tokens)::bigint
    FROM once o GROUP BY o.mime_type, o.ending, width_bucket(ln(o.size), 0, ln(2) * 52, 52)
    HAVING count(*) >= 5
$$;
COMMENT ON FUNCTION instance_tokens() IS
    'What files that came in the last four weeks and were read once took, by type and size, in numbers only; of what few have nothing.';

CREATE POLICY search ON costs FOR SELECT TO drivestream_definer USING (true);
GRANT SELECT ON costs TO drivestream_definer;
ALTER FUNCTION instance_tokens() OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION instance_tokens() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION instance_tokens() TO drivestream_worker;
