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

-- What each table and column says.
COMMENT ON TABLE organization IS 'Who runs services: a food bank, a church, a charity';
COMMENT ON COLUMN organization.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN organization.name IS 'The official or public name';
COMMENT ON COLUMN organization.alternate_name IS 'Another name that it is known by';
COMMENT ON COLUMN organization.description IS 'What it does';
COMMENT ON COLUMN organization.email IS 'Where to write to';
COMMENT ON COLUMN organization.website IS 'Its home page';
COMMENT ON COLUMN organization.tax_status IS 'How it is treated for tax';
COMMENT ON COLUMN organization.tax_id IS 'Its number with the tax office';
COMMENT ON COLUMN organization.year_incorporated IS 'The year of its founding in law, four digits';
COMMENT ON COLUMN organization.legal_status IS 'Its legal form, such as nonprofit';
COMMENT ON COLUMN organization.logo IS 'Address of a picture';
COMMENT ON COLUMN organization.uri IS 'A permanent address that identifies it';
COMMENT ON COLUMN organization.parent_organization_id IS 'The organisation that this one is part of';
COMMENT ON TABLE program IS 'A set of services that an organisation runs under one name';
COMMENT ON COLUMN program.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN program.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN program.name IS 'What it is called';
COMMENT ON COLUMN program.alternate_name IS 'Another name';
COMMENT ON COLUMN program.description IS 'What it does';
COMMENT ON TABLE service IS 'What is offered, such as groceries or meals';
COMMENT ON COLUMN service.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN service.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN service.program_id IS 'The program that it is part of';
COMMENT ON COLUMN service.name IS 'What it is called';
COMMENT ON COLUMN service.alternate_name IS 'Another name';
COMMENT ON COLUMN service.description IS 'What it is';
COMMENT ON COLUMN service.url IS 'Its web page';
COMMENT ON COLUMN service.email IS 'Where to write to';
COMMENT ON COLUMN service.status IS 'Whether it is offered at present';
COMMENT ON COLUMN service.interpretation_services IS 'Interpreting that can be had';
COMMENT ON COLUMN service.application_process IS 'How to get it';
COMMENT ON COLUMN service.fees_description IS 'What it costs, in words';
COMMENT ON COLUMN service.wait_time IS 'How long one waits for it';
COMMENT ON COLUMN service.fees IS 'What it costs; superseded by fees_description';
COMMENT ON COLUMN service.accreditations IS 'Accreditations it has';
COMMENT ON COLUMN service.eligibility_description IS 'Whom it is for';
COMMENT ON COLUMN service.minimum_age IS 'Youngest age that it is for, years';
COMMENT ON COLUMN service.maximum_age IS 'Oldest age that it is for, years';
COMMENT ON COLUMN service.assured_date IS 'When somebody last made sure of this';
COMMENT ON COLUMN service.assurer_email IS 'Whom to ask about that';
COMMENT ON COLUMN service.licenses IS 'Licences it has';
COMMENT ON COLUMN service.alert IS 'A notice on a change or a closure';
COMMENT ON COLUMN service.last_modified IS 'When this was last changed at its source';
COMMENT ON TABLE location IS 'A place where something is offered, or from where it is';
COMMENT ON COLUMN location.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN location.location_type IS 'A place, a postal address or an online one';
COMMENT ON COLUMN location.url IS 'Its web page';
COMMENT ON COLUMN location.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN location.name IS 'What it is called';
COMMENT ON COLUMN location.alternate_name IS 'Another name';
COMMENT ON COLUMN location.description IS 'What is there';
COMMENT ON COLUMN location.transportation IS 'How to get there';
COMMENT ON COLUMN location.latitude IS 'Degrees north, WGS 84';
COMMENT ON COLUMN location.longitude IS 'Degrees east, WGS 84';
COMMENT ON COLUMN location.external_identifier IS 'Its code in some other register';
COMMENT ON COLUMN location.external_identifier_type IS 'Which register that is';
COMMENT ON TABLE service_at_location IS 'That a service is offered at a location';
COMMENT ON COLUMN service_at_location.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN service_at_location.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN service_at_location.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN service_at_location.description IS 'What is different about it here';
COMMENT ON TABLE address IS 'Where a location is, or gets its post';
COMMENT ON COLUMN address.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN address.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN address.attention IS 'Whose attention post is for';
COMMENT ON COLUMN address.address_1 IS 'Street and number';
COMMENT ON COLUMN address.address_2 IS 'Suite, floor, building';
COMMENT ON COLUMN address.city IS 'City or town';
COMMENT ON COLUMN address.region IS 'District or county';
COMMENT ON COLUMN address.state_province IS 'State, two letters';
COMMENT ON COLUMN address.postal_code IS 'ZIP code, 5 or 9 digits';
COMMENT ON COLUMN address.country IS 'ISO 3166-1 alpha-2';
COMMENT ON COLUMN address.address_type IS 'For visits, for post, or online';
COMMENT ON TABLE contact IS 'A person or role to turn to';
COMMENT ON COLUMN contact.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN contact.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN contact.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN contact.service_at_location_id IS 'The service at a location that it belongs to';
COMMENT ON COLUMN contact.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN contact.name IS 'Who';
COMMENT ON COLUMN contact.title IS 'Role or position';
COMMENT ON COLUMN contact.department IS 'Part of the organisation';
COMMENT ON COLUMN contact.email IS 'Where to write to';
COMMENT ON TABLE phone IS 'A number to call';
COMMENT ON COLUMN phone.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN phone.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN phone.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN phone.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN phone.contact_id IS 'The contact that it belongs to';
COMMENT ON COLUMN phone.service_at_location_id IS 'The service at a location that it belongs to';
COMMENT ON COLUMN phone.number IS 'The number, NNN-NNN-NNNN where it is North American';
COMMENT ON COLUMN phone.extension IS 'Digits to dial after it';
COMMENT ON COLUMN phone.type IS 'Voice, fax, text and so on';
COMMENT ON COLUMN phone.description IS 'What it is for';
COMMENT ON TABLE schedule IS 'When something is open, in the terms of RFC 5545';
COMMENT ON COLUMN schedule.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN schedule.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN schedule.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN schedule.service_at_location_id IS 'The service at a location that it belongs to';
COMMENT ON COLUMN schedule.valid_from IS 'First day on which this holds';
COMMENT ON COLUMN schedule.valid_to IS 'Last day on which this holds';
COMMENT ON COLUMN schedule.dtstart IS 'First occurrence';
COMMENT ON COLUMN schedule.until IS 'Last occurrence';
COMMENT ON COLUMN schedule.timezone IS 'Hours from UTC';
COMMENT ON COLUMN schedule.count IS 'How often in all';
COMMENT ON COLUMN schedule.interval IS 'Every so many weeks or months';
COMMENT ON COLUMN schedule.wkst IS 'The day that a week begins with';
COMMENT ON COLUMN schedule.freq IS 'Weekly or monthly';
COMMENT ON COLUMN schedule.byday IS 'Days such as MO,WE; with a number (2TU) within the month';
COMMENT ON COLUMN schedule.byweekno IS 'Weeks of the year';
COMMENT ON COLUMN schedule.bymonthday IS 'Days of the month';
COMMENT ON COLUMN schedule.byyearday IS 'Days of the year';
COMMENT ON COLUMN schedule.description IS 'Hours in words';
COMMENT ON COLUMN schedule.opens_at IS 'Local time';
COMMENT ON COLUMN schedule.closes_at IS 'Local time';
COMMENT ON COLUMN schedule.schedule_link IS 'Where it is published';
COMMENT ON COLUMN schedule.attending_type IS 'How one takes part, such as in person';
COMMENT ON COLUMN schedule.notes IS 'What else is to be known; the source''s own words on hours';
COMMENT ON TABLE language IS 'A language that is spoken';
COMMENT ON COLUMN language.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN language.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN language.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN language.phone_id IS 'The phone that it belongs to';
COMMENT ON COLUMN language.name IS 'Its English name';
COMMENT ON COLUMN language.code IS 'ISO 639';
COMMENT ON COLUMN language.note IS 'What else is to be known';
COMMENT ON TABLE accessibility IS 'How people with disabilities can use a location';
COMMENT ON COLUMN accessibility.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN accessibility.location_id IS 'The location that it belongs to';
COMMENT ON COLUMN accessibility.description IS 'What there is, such as a ramp';
COMMENT ON COLUMN accessibility.details IS 'What else is to be known';
COMMENT ON COLUMN accessibility.url IS 'More about it';
COMMENT ON TABLE organization_identifier IS 'A number or code by which others know an organisation';
COMMENT ON COLUMN organization_identifier.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN organization_identifier.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN organization_identifier.identifier_scheme IS 'The scheme, by its code in org-id.guide';
COMMENT ON COLUMN organization_identifier.identifier_type IS 'The kind of identifier, in words';
COMMENT ON COLUMN organization_identifier.identifier IS 'The number or code';
COMMENT ON TABLE funding IS 'Where the money comes from';
COMMENT ON COLUMN funding.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN funding.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN funding.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN funding.source IS 'Who gives it';
COMMENT ON TABLE required_document IS 'What one has to bring to get a service';
COMMENT ON COLUMN required_document.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN required_document.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN required_document.document IS 'What it is';
COMMENT ON COLUMN required_document.uri IS 'More about it';
COMMENT ON TABLE service_area IS 'The area whose people a service is for';
COMMENT ON COLUMN service_area.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN service_area.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN service_area.service_at_location_id IS 'The service at a location that it belongs to';
COMMENT ON COLUMN service_area.name IS 'What the area is called';
COMMENT ON COLUMN service_area.description IS 'The area in words';
COMMENT ON COLUMN service_area.extent IS 'Its borders';
COMMENT ON COLUMN service_area.extent_type IS 'How the borders are written, such as geojson';
COMMENT ON COLUMN service_area.uri IS 'More about it';
COMMENT ON TABLE url IS 'A further web address';
COMMENT ON COLUMN url.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN url.label IS 'What to call it';
COMMENT ON COLUMN url.url IS 'The address';
COMMENT ON COLUMN url.organization_id IS 'The organisation that it belongs to';
COMMENT ON COLUMN url.service_id IS 'The service that it belongs to';
COMMENT ON TABLE cost_option IS 'What a service costs';
COMMENT ON COLUMN cost_option.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN cost_option.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN cost_option.valid_from IS 'First day of this price';
COMMENT ON COLUMN cost_option.valid_to IS 'Last day of this price';
COMMENT ON COLUMN cost_option.option IS 'Whom or what it is for';
COMMENT ON COLUMN cost_option.currency IS 'ISO 4217';
COMMENT ON COLUMN cost_option.amount IS 'How much';
COMMENT ON COLUMN cost_option.amount_description IS 'How much, in words';
COMMENT ON TABLE unit IS 'What a capacity counts, such as beds or boxes';
COMMENT ON COLUMN unit.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN unit.name IS 'What it is called';
COMMENT ON COLUMN unit.scheme IS 'The list it is from';
COMMENT ON COLUMN unit.identifier IS 'Its code there';
COMMENT ON COLUMN unit.uri IS 'More about it';
COMMENT ON TABLE service_capacity IS 'How much of a service can be had';
COMMENT ON COLUMN service_capacity.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN service_capacity.service_id IS 'The service that it belongs to';
COMMENT ON COLUMN service_capacity.unit_id IS 'What is counted';
COMMENT ON COLUMN service_capacity.available IS 'How many are free';
COMMENT ON COLUMN service_capacity.maximum IS 'How many there are';
COMMENT ON COLUMN service_capacity.description IS 'What else is to be known';
COMMENT ON COLUMN service_capacity.updated IS 'As of when';
COMMENT ON TABLE taxonomy IS 'A vocabulary to sort things by';
COMMENT ON COLUMN taxonomy.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN taxonomy.name IS 'What it is called';
COMMENT ON COLUMN taxonomy.description IS 'What it is for';
COMMENT ON COLUMN taxonomy.uri IS 'Where it is published';
COMMENT ON COLUMN taxonomy.version IS 'Which edition';
COMMENT ON TABLE taxonomy_term IS 'A term of a vocabulary';
COMMENT ON COLUMN taxonomy_term.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN taxonomy_term.code IS 'Its code in the vocabulary';
COMMENT ON COLUMN taxonomy_term.name IS 'What it is called';
COMMENT ON COLUMN taxonomy_term.description IS 'What it means';
COMMENT ON COLUMN taxonomy_term.parent_id IS 'The broader term';
COMMENT ON COLUMN taxonomy_term.taxonomy IS 'The vocabulary''s name, where that has no row of its own';
COMMENT ON COLUMN taxonomy_term.language IS 'The language of its name';
COMMENT ON COLUMN taxonomy_term.taxonomy_id IS 'The vocabulary that it is in';
COMMENT ON COLUMN taxonomy_term.term_uri IS 'Where it is published';
COMMENT ON TABLE attribute IS 'That a term applies to something';
COMMENT ON COLUMN attribute.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN attribute.link_id IS 'The row that the term applies to';
COMMENT ON COLUMN attribute.taxonomy_term_id IS 'The term';
COMMENT ON COLUMN attribute.link_type IS 'What about that row it says';
COMMENT ON COLUMN attribute.link_entity IS 'The table of that row';
COMMENT ON COLUMN attribute.value IS 'The text that the term stands for there';
COMMENT ON COLUMN attribute.label IS 'What to call it there';
COMMENT ON TABLE metadata IS 'A change to something, and who made it';
COMMENT ON COLUMN metadata.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN metadata.resource_id IS 'The row that was changed';
COMMENT ON COLUMN metadata.resource_type IS 'The table of that row';
COMMENT ON COLUMN metadata.last_action_date IS 'When';
COMMENT ON COLUMN metadata.last_action_type IS 'What was done: create, update, delete';
COMMENT ON COLUMN metadata.field_name IS 'The field that was changed';
COMMENT ON COLUMN metadata.previous_value IS 'What it said before';
COMMENT ON COLUMN metadata.replacement_value IS 'What it says since';
COMMENT ON COLUMN metadata.updated_by IS 'Who did it';
COMMENT ON TABLE meta_table_description IS 'How the data of a table are written';
COMMENT ON COLUMN meta_table_description.id IS 'Replay''s own id: the same wherever the same thing is replayed';
COMMENT ON COLUMN meta_table_description.name IS 'The table';
COMMENT ON COLUMN meta_table_description.language IS 'ISO 639';
COMMENT ON COLUMN meta_table_description.character_set IS 'How its text is encoded';
