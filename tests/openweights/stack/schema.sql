-- The part of an OpenWeights server that its client and its worker use, for one organisation of one test run.
-- Names of tables, columns and functions are the wire format; everything else here is as little as serves it.

create extension pgcrypto;

create role anon nologin;
create role authenticated nologin;
create role authenticator login noinherit;
grant anon, authenticated to authenticator;

create table organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null
);

create table organization_secrets (
  organization_id uuid references organizations,
  name text,
  value text not null,
  primary key (organization_id, name)
);

create table files (
  id text primary key,
  organization_id uuid not null references organizations,
  filename text not null,
  purpose text not null,
  bytes bigint not null,
  created_at timestamptz not null default now()
);

create table worker (
  id text primary key,
  organization_id uuid not null references organizations,
  status text,
  cached_models text[],
  vram_gb int,
  hardware_type text,
  docker_image text,
  pod_id text,
  logfile text,
  ping timestamptz,
  created_at timestamptz not null default now()
);

create type job_status as enum ('pending', 'in_progress', 'completed', 'failed', 'canceled');

create table jobs (
  id text primary key,
  organization_id uuid not null references organizations,
  type text not null,
  status job_status not null default 'pending',
  model text,
  params jsonb,
  script text,
  outputs jsonb,
  docker_image text,
  requires_vram_gb int default 24,
  allowed_hardware text[],
  worker_id text references worker,
  timeout timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table runs (
  id serial primary key,
  job_id text not null references jobs,
  worker_id text references worker,
  status job_status,
  log_file text,
  created_at timestamptz not null default now()
);

create table events (
  id serial primary key,
  run_id int not null references runs,
  data jsonb not null,
  file text,
  created_at timestamptz not null default now()
);

create function stamp_update() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  return new;
end $$;
create trigger stamp before update on jobs for each row execute function stamp_update();

-- What nobody may read through PostgREST: it serves the schema public alone.
create schema hidden;
create table hidden.api_tokens (
  digest bytea primary key,
  organization_id uuid not null references organizations,
  expires_at timestamptz,
  revoked_at timestamptz
);
create table hidden.settings (jwt_secret text not null, jwt_lifetime interval not null default '1 hour');

create function hidden.base64url(data bytea) returns text language sql immutable as $$
  select translate(encode(data, 'base64'), E'+/=\n', '-_')
$$;

create function hidden.sign(claims jsonb) returns text language sql stable as $$
  with unsigned as (
    select hidden.base64url('{"alg":"HS256","typ":"JWT"}'::bytea) || '.'
        || hidden.base64url(convert_to(claims::text, 'utf8')) as head
  )
  select head || '.' || hidden.base64url(hmac(head::bytea, jwt_secret::bytea, 'sha256'))
  from unsigned, hidden.settings
$$;

-- A long-lived key (ow_...) against a short-lived token. The client knows these three sentences.
create function exchange_api_token_for_jwt(api_token text) returns text
language plpgsql security definer set search_path = public as $$
declare
  known hidden.api_tokens := null;
begin
  select * into known from hidden.api_tokens where digest = sha256(convert_to(api_token, 'utf8'));
  if known.digest is null then
    raise 'Invalid API token';
  elsif known.revoked_at <= now() then
    raise 'API token has been revoked';
  elsif known.expires_at <= now() then
    raise 'API token has expired';
  end if;
  return hidden.sign(jsonb_build_object(
    'role', 'authenticated',
    'organization_id', known.organization_id,
    'exp', (select floor(extract(epoch from now() + jwt_lifetime))::bigint from hidden.settings)
  ));
end $$;

create function get_organization_from_token() returns uuid language sql stable as $$
  select (current_setting('request.jwt.claims')::jsonb ->> 'organization_id')::uuid
$$;

-- Of several workers one gets the job.
create function acquire_job(_job_id text, _worker_id text) returns setof jobs language sql as $$
  update jobs set status = 'in_progress', worker_id = _worker_id
  where id = _job_id and status = 'pending'
  returning *
$$;

-- A worker says how its job ended; one that was cancelled or given to another worker stays as it is.
create function update_job_status_if_in_progress(
  _job_id text, _new_status text, _worker_id text, _job_outputs jsonb default null, _job_script text default null
) returns void language sql as $$
  update jobs
  set status = _new_status::job_status, outputs = _job_outputs, script = coalesce(_job_script, script)
  where id = _job_id and worker_id = _worker_id and status = 'in_progress'
$$;

-- Every table shows a token the rows of its own organisation.
do $$
declare
  name text;
begin
  foreach name in array array['organization_secrets', 'files', 'worker', 'jobs'] loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own on %I using (organization_id = get_organization_from_token())', name);
  end loop;
end $$;
alter table organizations enable row level security;
create policy own on organizations using (id = get_organization_from_token());
alter table runs enable row level security;
create policy own on runs using (exists (select from jobs where jobs.id = job_id));
alter table events enable row level security;
create policy own on events using (exists (select from runs where runs.id = run_id));

revoke execute on all functions in schema public from public;
grant usage on schema public to anon, authenticated;
grant execute on function exchange_api_token_for_jwt to anon, authenticated;
grant execute on function get_organization_from_token to anon, authenticated;
grant execute on function acquire_job, update_job_status_if_in_progress to authenticated;
grant select on all tables in schema public to anon;
grant select, insert, update on all tables in schema public to authenticated;
grant usage on all sequences in schema public to authenticated;
