import type { MigrationInterface, QueryRunner } from 'typeorm';
import { ENSURE_PARTITIONS } from './0002-partition-functions.js';

/**
 * As in 0002, but the table itself is locked against writers first. PostgreSQL chooses a row's partition before it locks
 * that partition: a writer that had chosen the default partition, and waited there while the row's own was attached, was
 * refused afterwards ("violates partition constraint"). Waiting at the table, it chooses when the partition is there.
 */
const ENSURE_PARTITIONS_IN_TURN = `
CREATE OR REPLACE FUNCTION wardbeat_ensure_partitions(p_table text, p_from timestamptz, p_days integer) RETURNS integer
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
    EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE ROW EXCLUSIVE MODE', p_table);
    CONTINUE WHEN to_regclass(format('public.%I', v_name)) IS NOT NULL;
    IF v_default IS NOT NULL THEN
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', v_default::regclass);
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

/** Writers wait while a partition is made, instead of being refused; readers do not wait. */
export class PartitionsInTurn0000000000008 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(ENSURE_PARTITIONS_IN_TURN);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(ENSURE_PARTITIONS.replace('CREATE FUNCTION', 'CREATE OR REPLACE FUNCTION'));
  }
}
