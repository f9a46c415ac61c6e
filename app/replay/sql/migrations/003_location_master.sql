-- Everything that a person looks for about a place, in one row.

CREATE FUNCTION schedule_text(one schedule) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(concat_ws(
        ' ',
        nullif(one.byday, ''),
        CASE WHEN one.bymonthday IS NOT NULL THEN 'day ' || one.bymonthday || ' of the month' END,
        to_char(one.opens_at, 'HH24:MI') || coalesce('-' || to_char(one.closes_at, 'HH24:MI'), ''),
        CASE WHEN one.opens_at IS NULL THEN 'until ' || to_char(one.closes_at, 'HH24:MI') END,
        CASE
            WHEN one.freq = 'MONTHLY' THEN '(monthly)'
            WHEN one.count = 1 THEN '(once)'
            WHEN one.interval > 1 THEN '(every ' || one.interval || ' weeks)'
        END,
        CASE WHEN one.dtstart IS NOT NULL THEN 'from ' || one.dtstart END
    ), '')
$$;
COMMENT ON FUNCTION schedule_text(schedule) IS 'A schedule in short, such as: TU,TH 09:00-12:00';

CREATE VIEW location_master AS
SELECT
    location.id,
    location.name,
    organization.name AS organization,
    concat_ws(', ', nullif(address.address_1, ''), address.address_2) AS address,
    address.city,
    address.state_province AS state,
    address.postal_code AS zip,
    location.latitude,
    location.longitude,
    phone.number AS phone,
    organization.website,
    organization.email,
    coalesce(hours.said, hours.notes) AS hours,
    source.scraper_id AS scraper,
    source.path AS source_file,
    source.created_at AS recorded_at
FROM location
LEFT JOIN organization ON organization.id = location.organization_id
LEFT JOIN LATERAL (
    SELECT * FROM address WHERE address.location_id = location.id
    ORDER BY address.address_type, address.address_1 = '', address.id LIMIT 1
) AS address ON true
LEFT JOIN LATERAL (
    SELECT candidate.number FROM (
        SELECT 1 AS nearness, id, number FROM phone WHERE location_id = location.id
        UNION ALL
        SELECT 2, phone.id, number FROM phone
        JOIN service_at_location AS there ON there.id = phone.service_at_location_id
        WHERE there.location_id = location.id
        UNION ALL
        SELECT 3, phone.id, number FROM phone
        JOIN service_at_location AS there ON there.service_id = phone.service_id
        WHERE there.location_id = location.id
        UNION ALL
        SELECT 4, id, number FROM phone WHERE organization_id = location.organization_id
    ) AS candidate
    ORDER BY nearness, id LIMIT 1
) AS phone ON true
LEFT JOIN LATERAL (
    SELECT
        string_agg(DISTINCT schedule_text(one), '; ') AS said,
        string_agg(DISTINCT (one).notes, '; ') AS notes
    FROM (  -- each by an index; with OR, every place would go through all schedules
        SELECT schedule FROM schedule WHERE location_id = location.id
        UNION ALL
        SELECT schedule FROM schedule
        JOIN service_at_location AS there ON there.id = schedule.service_at_location_id
        WHERE there.location_id = location.id
        UNION ALL
        SELECT schedule FROM schedule
        JOIN service_at_location AS there ON there.service_id = schedule.service_id
        WHERE there.location_id = location.id
    ) AS candidate (one)
) AS hours ON true
LEFT JOIN LATERAL (
    SELECT replay_record.scraper_id, replay_record.path, replay_record.created_at
    FROM record_source JOIN replay_record ON replay_record.sha256 = record_source.recording
    WHERE record_source.row_id = location.id AND record_source.table_name = 'location'
        AND replay_record.outcome = 'loaded'
    ORDER BY replay_record.created_at DESC, replay_record.job_id COLLATE "C" DESC,
        replay_record.completed_at DESC NULLS LAST, replay_record.sha256 DESC
    LIMIT 1
) AS source ON true;
COMMENT ON VIEW location_master IS 'Each place with its organisation, address, phone, hours, and where all of it came from';
