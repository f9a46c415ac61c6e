-- The 24 tables of the Human Services Data Specification, version 3.1.1, in its tabular form.
-- Left out: the published UNIQUE on program.organization_id, since organisations run several programs.

CREATE TYPE location_type AS ENUM ('physical', 'postal', 'virtual');
CREATE TYPE address_type AS ENUM ('physical', 'postal', 'virtual');
CREATE TYPE service_status AS ENUM ('active', 'inactive', 'defunct', 'temporarily closed');
CREATE TYPE schedule_freq AS ENUM ('WEEKLY', 'MONTHLY');
CREATE TYPE weekday AS ENUM ('MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU');

CREATE TABLE organization (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    alternate_name text,
    description text NOT NULL,
    email text,
    website text,
    tax_status text,
    tax_id text,
    year_incorporated numeric,
    legal_status text,
    logo text,
    uri text,
    parent_organization_id uuid REFERENCES organization
);

CREATE TABLE program (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organization,
    name text NOT NULL,
    alternate_name text,
    description text NOT NULL
);

CREATE TABLE service (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organization,
    program_id uuid REFERENCES program,
    name text NOT NULL,
    alternate_name text,
    description text,
    url text,
    email text,
    status service_status NOT NULL,
    interpretation_services text,
    application_process text,
    fees_description text,
    wait_time text,
    fees text,
    accreditations text,
    eligibility_description text,
    minimum_age numeric,
    maximum_age numeric,
    assured_date date,
    assurer_email text,
    licenses text,
    alert text,
    last_modified timestamptz
);

CREATE TABLE location (
    id uuid PRIMARY KEY,
    location_type location_type NOT NULL,
    url text,
    organization_id uuid REFERENCES organization,
    name text,
    alternate_name text,
    description text,
    transportation text,
    latitude numeric,
    longitude numeric,
    external_identifier text,
    external_identifier_type text
);

CREATE TABLE service_at_location (
    id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES service,
    location_id uuid NOT NULL REFERENCES location,
    description text
);

CREATE TABLE address (
    id uuid PRIMARY KEY,
    location_id uuid REFERENCES location,
    attention text,
    address_1 text NOT NULL,
    address_2 text,
    city text NOT NULL,
    region text,
    state_province text NOT NULL,
    postal_code text NOT NULL,
    country text NOT NULL,
    address_type address_type NOT NULL
);

CREATE TABLE contact (
    id uuid PRIMARY KEY,
    organization_id uuid REFERENCES organization,
    service_id uuid REFERENCES service,
    service_at_location_id uuid REFERENCES service_at_location,
    location_id uuid REFERENCES location,
    name text,
    title text,
    department text,
    email text
);

CREATE TABLE phone (
    id uuid PRIMARY KEY,
    location_id uuid REFERENCES location,
    service_id uuid REFERENCES service,
    organization_id uuid REFERENCES organization,
    contact_id uuid REFERENCES contact,
    service_at_location_id uuid REFERENCES service_at_location,
    number text NOT NULL,
    extension numeric,
    type text,
    description text
);

CREATE TABLE schedule (
    id uuid PRIMARY KEY,
    service_id uuid REFERENCES service,
    location_id uuid REFERENCES location,
    service_at_location_id uuid REFERENCES service_at_location,
    valid_from date,
    valid_to date,
    dtstart date,
    until date,
    timezone numeric,
    count numeric,
    interval numeric,
    wkst weekday,
    freq schedule_freq,
    byday text,
    byweekno text,
    bymonthday text,
    byyearday text,
    description text,
    opens_at time,
    closes_at time,
    schedule_link text,
    attending_type text,
    notes text
);

CREATE TABLE language (
    id uuid PRIMARY KEY,
    service_id uuid REFERENCES service,
    location_id uuid REFERENCES location,
    phone_id uuid REFERENCES phone,
    name text,
    code text,
    note text
);

CREATE TABLE accessibility (
    id uuid PRIMARY KEY,
    location_id uuid REFERENCES location,
    description text,
    details text,
    url text
);

CREATE TABLE organization_identifier (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organization,
    identifier_scheme text,
    identifier_type text NOT NULL,
    identifier text NOT NULL
);

CREATE TABLE funding (
    id uuid PRIMARY KEY,
    organization_id uuid REFERENCES organization,
    service_id uuid REFERENCES service,
    source text
);

CREATE TABLE required_document (
    id uuid PRIMARY KEY,
    service_id uuid REFERENCES service,
    document text,
    uri text
);

CREATE TABLE service_area (
    id uuid PRIMARY KEY,
    service_id uuid REFERENCES service,
    service_at_location_id uuid REFERENCES service_at_location,
    name text,
    description text,
    extent text,
    extent_type text,
    uri text
);

CREATE TABLE url (
    id uuid PRIMARY KEY,
    label text,
    url text NOT NULL,
    organization_id uuid REFERENCES organization,
    service_id uuid REFERENCES service
);

CREATE TABLE cost_option (
    id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES service,
    valid_from date,
    valid_to date,
    option text,
    currency text,
    amount numeric,
    amount_description text
);

CREATE TABLE unit (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    scheme text,
    identifier text,
    uri text
);

CREATE TABLE service_capacity (
    id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES service,
    unit_id uuid NOT NULL REFERENCES unit,
    available numeric NOT NULL,
    maximum numeric,
    description text,
    updated timestamptz NOT NULL
);

CREATE TABLE taxonomy (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    uri text,
    version text
);

CREATE TABLE taxonomy_term (
    id uuid PRIMARY KEY,
    code text UNIQUE,
    name text NOT NULL,
    description text NOT NULL,
    parent_id uuid REFERENCES taxonomy_term,
    taxonomy text,
    language text,
    taxonomy_id uuid REFERENCES taxonomy,
    term_uri text
);

CREATE TABLE attribute (
    id uuid PRIMARY KEY,
    link_id uuid NOT NULL,
    taxonomy_term_id uuid NOT NULL REFERENCES taxonomy_term,
    link_type text,
    link_entity text NOT NULL,
    value text,
    label text
);

CREATE TABLE metadata (
    id uuid PRIMARY KEY,
    resource_id uuid NOT NULL,
    resource_type text NOT NULL,
    last_action_date date NOT NULL,
    last_action_type text NOT NULL,
    field_name text NOT NULL,
    previous_value text NOT NULL,
    replacement_value text NOT NULL,
    updated_by text NOT NULL
);

CREATE TABLE meta_table_description (
    id uuid PRIMARY KEY,
    name text,
    language text,
    character_set text
);

-- One index for each reference, so that children are found and parents can go without a scan ...
CREATE INDEX ON organization (parent_organization_id) WHERE parent_organization_id IS NOT NULL;
CREATE INDEX ON program (organization_id);
CREATE INDEX ON service (organization_id);
CREATE INDEX ON service (program_id) WHERE program_id IS NOT NULL;
CREATE INDEX ON location (organization_id);
CREATE INDEX ON service_at_location (service_id);
CREATE INDEX ON service_at_location (location_id);
CREATE INDEX ON address (location_id);
CREATE INDEX ON contact (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX ON contact (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON contact (service_at_location_id) WHERE service_at_location_id IS NOT NULL;
CREATE INDEX ON contact (location_id) WHERE location_id IS NOT NULL;
CREATE INDEX ON phone (location_id) WHERE location_id IS NOT NULL;
CREATE INDEX ON phone (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON phone (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX ON phone (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX ON phone (service_at_location_id) WHERE service_at_location_id IS NOT NULL;
CREATE INDEX ON schedule (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON schedule (location_id) WHERE location_id IS NOT NULL;
CREATE INDEX ON schedule (service_at_location_id) WHERE service_at_location_id IS NOT NULL;
CREATE INDEX ON language (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON language (location_id) WHERE location_id IS NOT NULL;
CREATE INDEX ON language (phone_id) WHERE phone_id IS NOT NULL;
CREATE INDEX ON accessibility (location_id);
CREATE INDEX ON organization_identifier (organization_id);
CREATE INDEX ON funding (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX ON funding (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON required_document (service_id);
CREATE INDEX ON service_area (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON service_area (service_at_location_id) WHERE service_at_location_id IS NOT NULL;
CREATE INDEX ON url (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX ON url (service_id) WHERE service_id IS NOT NULL;
CREATE INDEX ON cost_option (service_id);
CREATE INDEX ON service_capacity (service_id);
CREATE INDEX ON service_capacity (unit_id);
CREATE INDEX ON taxonomy_term (parent_id);
CREATE INDEX ON taxonomy_term (taxonomy_id);
CREATE INDEX ON attribute (link_id);
CREATE INDEX ON attribute (taxonomy_term_id);
CREATE INDEX ON metadata (resource_id);

-- ... and for what people look for.
CREATE INDEX ON organization (lower(name));
CREATE INDEX ON address (state_province, lower(city));
CREATE INDEX ON address (postal_code);
