import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Only tables in `public` that belong to the functions' owner and are partitioned by `partition_at` alone; the name is
 * given by a role that may not make or drop tables itself.
 */
const CHECK_TABLE = `
CREATE FUNCTION wardbeat_check_partitioned(p_table text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  v_parent oid;
BEGIN
  SELECT c.oid INTO v_parent
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
  WHERE c.relname = p_table AND c.relnamespace = 'public'::pg_catalog.regnamespace
    AND c.relowner = current_user::pg_catalog.regrole::oid
    AND p.partstrat = 'r' AND p.partnatts = 1 AND a.attname = 'partition_at';
  IF v_parent IS NULL THEN
    RAISE EXCEPTION 'table % is not partitioned by partition_at', p_table USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN v_parent;
END $body$;
`;

/**
 * A partition is made beside the table and then attached: that blocks neither readers nor writers of other partitions,
 * and rows that the default partition has caught meanwhile are moved first. The default partition is locked before
 * anything is looked at, so that several managers take turns.
 */
export const ENSURE_PARTITIONS = `
CREATE FUNCTION wardbeat_ensure_partitions(p_table text, p_from timestamptz, p_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $body$
DECLARE
  v_parent oid := public.wardbeat_check_partitioned(p_table);
  v_default oid;
  v_from timestamptz;
  v_name text;
  v_made integer := 0;
BEGIN
  IF p_days NOT BETWEEN 1 AND 400 THEN
    RAISE EXCEPTION 'days must be from 1 to 400' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT NULLIF(partdefid, 0) INTO v_default FROM pg_partitioned_table WHERE partrelid = v_parent;
  FOR v_day IN 0 .. p_days - 1 LOOP
    v_from := date_trunc('day', p_from) + make_interval(days => v_day);
    v_name := p_table || '_p' || to_char(v_from, 'YYYYMMDD');
    CONTINUE WHEN to_regclass(format('public.%I', v_name)) IS NOT NULL;
    IF v_default IS NOT NULL THEN
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v_default::regclass);
      CONTINUE WHEN to_regclass(format('public.%I', v_name)) IS NOT NULL;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
      ' INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)', v_name, p_table);
    IF v_default IS NOT NULL THEN
      EXECUTE format('WITH moved AS (DELETE FROM %s WHERE partition_at >= $1 AND partition_at < $2 RETURNING *)'
        ' INSERT INTO public.%I SELECT * FROM moved', v_default::regclass, v_name)
        USING v_from, v_from + interval '1 day';
    END IF;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      p_table, v_name, v_from, v_from + interval '1 day');
    v_made := v_made + 1;
  END LOOP;
  RETURN v_made;
END $body$;
`;

/** Whole days that end at or before the instant; what the default partition holds of that time is deleted. */
const DROP_PARTITIONS = `
CREATE FUNCTION wardbeat_drop_partitions(p_table text, p_before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $body$
DECLARE
  v_parent oid := public.wardbeat_check_partitioned(p_table);
  v_default oid;
  v_name text;
  v_dropped integer := 0;
BEGIN
  FOR v_name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = v_parent AND c.relname ~ ('^' || p_table || '_p[0-9]{8}$')
      AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= p_before
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', v_name);
    v_dropped := v_dropped + 1;
  END LOOP;
  SELECT NULLIF(partdefid, 0) INTO v_default FROM pg_partitioned_table WHERE partrelid = v_parent;
  IF v_default IS NOT NULL THEN
    EXECUTE format('DELETE FROM %s WHERE partition_at < $1', v_default::regclass) USING p_before;
  END IF;
  RETURN v_dropped;
END $body$;
`;

const CLOSE_TO_PUBLIC = `
REVOKE ALL ON FUNCTION wardbeat_check_partitioned(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION wardbeat_ensure_partitions(text, timestamptz, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION wardbeat_drop_partitions(text, timestamptz) FROM PUBLIC;
`;

/** Lets the application role make and drop daily partitions without owning a table. Instants are parameters. */
export class PartitionFunctions0000000000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const sql of [CHECK_TABLE, ENSURE_PARTITIONS, DROP_PARTITIONS, CLOSE_TO_PUBLIC]) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP FUNCTION wardbeat_drop_partitions(text, timestamptz)');
    await runner.query('DROP FUNCTION wardbeat_ensure_partitions(text, timestamptz, integer)');
    await runner.query('DROP FUNCTION wardbeat_check_partitioned(text)');
  }
}
