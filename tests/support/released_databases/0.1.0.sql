BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'nsfw_review','create_review_tables','2026-11-29 02:03:06.666550+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'nsfw_review','create_queue','2026-11-29 02:03:06.668677+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'nsfw_review','create_accounts','2026-11-29 02:03:06.669445+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'nsfw_review','create_submissions','2026-11-29 02:03:06.671585+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'nsfw_review','report_states','2026-11-29 02:03:06.673478+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'nsfw_review','mark_queueing_uploads','2026-11-29 02:03:06.674488+00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'nsfw_review','add_warnings','2026-11-29 02:03:06.677574+00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'nsfw_review','name_local_models','2026-11-29 02:03:06.677855+00:00');
CREATE TABLE api_keys (
      id integer primary key,
      name text not null unique collate nocase,
      key_sha256 text not null unique,
      scopes text not null,
      per_minute integer not null check (per_minute > 0),
      created_at text not null,
      revoked_at text
    , webhook_url text, webhook_secret text, webhook_gone_at text);
INSERT INTO "api_keys" VALUES(1,'uploads','keyhash','["classify"]',600,'2026-11-29T02:03:06.688Z',NULL,'https://example.com/hook','gAAAAABrC4faS5WJfZ-ggCpWe446z4QSM_tfcYknY9qhhd3qwEt5d7bszC2Wdal-KWLOkgu9k_ciCDSyGL7nzYAXtz1IDH1kfw==',NULL);
CREATE TABLE audit (
      id integer primary key autoincrement,
      at text not null,
      actor text not null,
      action text not null,
      subject text not null,
      details text not null
    );
INSERT INTO "audit" VALUES(1,'2026-11-29T02:03:06.688Z','root','user','ann','{"change": "added", "role": "admin"}');
INSERT INTO "audit" VALUES(2,'2026-11-29T02:03:06.688Z','root','user','bob','{"change": "added", "role": "reviewer"}');
INSERT INTO "audit" VALUES(3,'2026-11-29T02:03:06.691Z','root','key','uploads','{"change": "added", "scopes": ["classify"], "per_minute": 600, "webhook_url": "https://example.com/hook"}');
CREATE TABLE decisions (
      id integer primary key autoincrement,
      nonce text not null unique,
      decided_at text not null,
      reviewer text not null,
      prediction_id integer not null references predictions (id),
      name text not null,
      source text not null,
      threshold real not null check (threshold between 0 and 1),
      model_label text not null check (model_label in ('normal', 'nsfw')),
      label text check (label in ('normal', 'nsfw', 'unsure')),
      reasons text not null,
      note text not null,
      batch_id text not null,
      undoes integer references decisions (id), elapsed_ms integer, warnings text not null default '[]',
      check ((label is null) = (undoes is not null))
    );
INSERT INTO "decisions" VALUES(1,'1','2026-11-29T02:03:06.693Z','ann',1,'a.png','gallery',0.5,'nsfw','normal','[]','first','batch 1',NULL,NULL,'[]');
INSERT INTO "decisions" VALUES(2,'2','2026-11-29T02:03:06.698Z','bob',1,'a.png','gallery',0.5,'nsfw','normal','[]','','batch 1',NULL,NULL,'[]');
INSERT INTO "decisions" VALUES(3,'3','2026-11-29T02:03:06.699Z','ann',2,'a.png','gallery',0.5,'nsfw','nsfw','[]','','batch 1',NULL,NULL,'[]');
INSERT INTO "decisions" VALUES(4,'4','2026-11-29T02:03:06.700Z','ann',2,'a.png','gallery',0.5,'nsfw',NULL,'[]','','batch 1',3,NULL,'[]');
INSERT INTO "decisions" VALUES(5,'5','2026-11-29T02:03:06.701Z','bob',3,'a.png','gallery',0.5,'nsfw','unsure','[]','','batch 1',NULL,NULL,'[]');
CREATE TABLE deliveries (
      id text primary key,
      submission_id text not null references submissions (id),
      label text,
      created_at text not null,
      next_at text not null,
      attempts integer not null default 0,
      delivered_at text,
      given_up_at text,
      last_status integer,
      last_error text
    , event text not null default 'image.settled');
INSERT INTO "deliveries" VALUES('20cd74f2dc219caf679efbda83e9799c','dd20b32f11144918acadcb39168e5867','nsfw','2026-11-29T02:03:06.700Z','2026-11-29T02:03:06.700Z',0,NULL,NULL,NULL,NULL,'image.settled');
INSERT INTO "deliveries" VALUES('d2eec90662f04e003ae3a8d7fb2eef98','dd20b32f11144918acadcb39168e5867',NULL,'2026-11-29T02:03:06.701Z','2026-11-29T02:03:06.701Z',0,NULL,NULL,NULL,NULL,'image.reopened');
CREATE TABLE images (
      sha256 text primary key,
      format text not null,
      width integer not null,
      height integer not null,
      size_bytes integer not null,
      frames integer not null,
      placeholder blob not null,
      first_seen_at text not null
    , perceptual_hash text, warnings text not null default '[]', incomplete integer not null default 0);
INSERT INTO "images" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','PNG',40,30,1000,1,X'77656270','2026-11-29T02:03:06.679Z',NULL,'[]',0);
INSERT INTO "images" VALUES('bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','PNG',40,30,1000,1,X'77656270','2026-11-29T02:03:06.683Z',NULL,'[]',0);
INSERT INTO "images" VALUES('cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','PNG',40,30,1000,1,X'77656270','2026-11-29T02:03:06.685Z',NULL,'[]',0);
CREATE TABLE policies (
      model text not null,
      version integer not null,
      threshold real not null,
      review_from real not null,
      review_to real not null,
      author text not null,
      reason text not null,
      created_at text not null,
      primary key (model, version),
      check (0 <= review_from and review_from <= threshold
        and threshold <= review_to and review_to <= 1)
    ) without rowid
    ;
CREATE TABLE predictions (
      id integer primary key,
      image_sha256 text not null references images (sha256),
      model text not null,
      revision text not null,
      backend text not null,
      weights_sha256 text not null,
      probabilities text not null,
      nsfw_score real not null check (nsfw_score between 0 and 1),
      frame integer not null,
      predicted_at text not null, ground text not null default 'white',
      unique (image_sha256, model, revision, backend)
    );
INSERT INTO "predictions" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','fake','r1','test','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','{"normal": 0.1, "nsfw": 0.9}',0.9,0,'2026-11-29T02:03:06.682Z','white');
INSERT INTO "predictions" VALUES(2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','fake','r1','test','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','{"normal": 0.1, "nsfw": 0.9}',0.9,0,'2026-11-29T02:03:06.683Z','white');
INSERT INTO "predictions" VALUES(3,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','fake','r1','test','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','{"normal": 0.1, "nsfw": 0.9}',0.9,0,'2026-11-29T02:03:06.685Z','white');
INSERT INTO "predictions" VALUES(4,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','other','r1','test','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','{"normal": 0.1, "nsfw": 0.9}',0.9,0,'2026-11-29T02:03:06.687Z','white');
CREATE TABLE queue (
      id integer primary key,
      prediction_id integer not null references predictions (id),
      reason text not null,
      priority integer not null,
      adjudicating integer not null default 0,
      answers_wanted integer not null check (answers_wanted > 0),
      draw_probability real check (draw_probability between 0 and 1),
      entered_at text not null,
      leased_by text,
      leased_until text,
      settled_at text,
      settled_label text
    );
INSERT INTO "queue" VALUES(1,2,'review',3,0,1,NULL,'2026-11-29T02:03:06.692Z',NULL,NULL,NULL,NULL);
INSERT INTO "queue" VALUES(2,3,'review',3,0,1,NULL,'2026-11-29T02:03:06.692Z',NULL,NULL,'2026-11-29T02:03:06.701Z','unsure');
INSERT INTO "queue" VALUES(3,1,'disagreement',2,0,2,NULL,'2026-11-29T02:03:06.694Z',NULL,NULL,'2026-11-29T02:03:06.698Z','normal');
INSERT INTO "queue" VALUES(4,3,'disagreement',2,0,2,NULL,'2026-11-29T02:03:06.702Z',NULL,NULL,NULL,NULL);
CREATE TABLE queue_skips (
      queue_id integer not null references queue (id),
      reviewer text not null,
      skipped_at text not null,
      primary key (queue_id, reviewer)
    );
CREATE TABLE sessions (
      token_sha256 text primary key,
      owner text not null,
      name text not null,
      organisations text not null,
      created_at text not null,
      expires_at text not null
    );
CREATE TABLE submissions (
      id text primary key,
      prediction_id integer not null references predictions (id),
      owner text not null,
      name text not null,
      key_name text references api_keys (name),
      submitted_at text not null
    );
INSERT INTO "submissions" VALUES('dd20b32f11144918acadcb39168e5867',2,'key:uploads','b.png','uploads','2026-11-29T02:03:06.692Z');
CREATE TABLE training_labels (
      id integer primary key,
      prediction_id integer not null references predictions (id),
      label text check (label in ('normal', 'nsfw')),
      decided_by text not null,
      decided_at text not null
    );
INSERT INTO "training_labels" VALUES(1,1,'normal','ann','2026-11-29T02:03:06.703Z');
CREATE TABLE uploads (
      id integer primary key,
      image_sha256 text not null references images (sha256),
      owner text not null,
      name text not null,
      source text not null,
      batch_id text not null,
      uploaded_at text not null
    , queues integer not null default 1);
INSERT INTO "uploads" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','ann','a.png','gallery','batch 1','2026-11-29T02:03:06.683Z',1);
INSERT INTO "uploads" VALUES(2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','ann','a.png','gallery','batch 1','2026-11-29T02:03:06.684Z',1);
INSERT INTO "uploads" VALUES(3,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','ann','a.png','gallery','batch 1','2026-11-29T02:03:06.686Z',1);
INSERT INTO "uploads" VALUES(4,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','ann','a.png','gallery','batch 1','2026-11-29T02:03:06.687Z',1);
CREATE TABLE users (
      name text primary key collate nocase,
      password_hash text not null,
      role text not null check (role in ('viewer', 'reviewer', 'admin')),
      created_at text not null,
      disabled_at text
    );
INSERT INTO "users" VALUES('ann','hash of ann','admin','2026-11-29T02:03:06.687Z',NULL);
INSERT INTO "users" VALUES('bob','hash of bob','reviewer','2026-11-29T02:03:06.688Z',NULL);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX uploads_by_owner on uploads (image_sha256, owner);
CREATE UNIQUE INDEX decisions_undone_once on decisions (undoes) where undoes is not null;
CREATE INDEX decisions_by_prediction on decisions (prediction_id, reviewer);
CREATE TRIGGER decisions_stay before update on decisions
    begin select raise(abort, 'decisions are append-only'); end;
CREATE TRIGGER decisions_remain before delete on decisions
    begin select raise(abort, 'decisions are append-only'); end;
CREATE UNIQUE INDEX queue_open on queue (prediction_id) where settled_at is null;
CREATE INDEX queue_by_prediction on queue (prediction_id);
CREATE INDEX queue_waiting on queue (priority, entered_at) where settled_at is null;
CREATE INDEX training_labels_by_prediction on training_labels (prediction_id);
CREATE VIEW standing_answers as
    select d.id, d.prediction_id, d.reviewer, d.label, d.model_label, d.decided_at, d.elapsed_ms
    from decisions d
    where d.label is not null
      and not exists (select 1 from decisions u where u.undoes = d.id)
      and not exists (
        select 1 from decisions later
        where later.prediction_id = d.prediction_id and later.reviewer = d.reviewer
          and later.id > d.id and later.label is not null
          and not exists (select 1 from decisions u where u.undoes = later.id)
      );
CREATE VIEW settled_disagreements as
    with final as (
      select p.id as prediction_id, p.image_sha256, p.model, p.nsfw_score,
        coalesce(
          (select q.settled_label from queue q where q.prediction_id = p.id
           order by q.id desc limit 1),
          (select min(a.label) from standing_answers a where a.prediction_id = p.id
           having count(distinct a.label) = 1)
        ) as label,
        (select a.model_label from standing_answers a where a.prediction_id = p.id
         order by a.id desc limit 1) as model_label,
        (select count(*) from standing_answers a where a.prediction_id = p.id) as answers
      from predictions p
      where p.id in (select prediction_id from standing_answers)
        and not exists (
          select 1 from queue q where q.prediction_id = p.id and q.settled_at is null
        )
    )
    select f.prediction_id, f.image_sha256, f.model, f.nsfw_score, f.label,
      abs(f.nsfw_score - (f.label = 'nsfw')) as error, f.answers, i.perceptual_hash,
      (select coalesce(t.label, '') from training_labels t
       where t.prediction_id = f.prediction_id order by t.id desc limit 1) as confirmed
    from final f join images i on i.sha256 = f.image_sha256
    where f.label in ('normal', 'nsfw') and f.label <> f.model_label;
CREATE INDEX sessions_by_owner on sessions (owner);
CREATE TRIGGER audit_stays before update on audit
    begin select raise(abort, 'the audit is append-only'); end;
CREATE TRIGGER audit_remains before delete on audit
    begin select raise(abort, 'the audit is append-only'); end;
CREATE INDEX submissions_by_prediction on submissions (prediction_id);
CREATE INDEX deliveries_by_submission on deliveries (submission_id);
CREATE INDEX deliveries_due on deliveries (next_at)
    where delivered_at is null and given_up_at is null
    ;
CREATE VIEW correction_log as
    select
      d.id as decision_id, d.decided_at, d.reviewer, p.image_sha256, d.name, d.source,
      p.model, p.revision, p.backend, p.nsfw_score, d.threshold, d.model_label,
      d.label as reviewer_label, d.label = d.model_label as agrees, d.reasons, d.note, d.batch_id,
      exists (select 1 from decisions u where u.undoes = d.id)
        or exists (
          select 1 from decisions later
          where later.prediction_id = d.prediction_id and later.reviewer = d.reviewer
            and later.id > d.id and later.label is not null
            and not exists (select 1 from decisions u where u.undoes = later.id)
        ) as undone,
      d.warnings
    from decisions d join predictions p on p.id = d.prediction_id
    where d.label is not null;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',3);
INSERT INTO "sqlite_sequence" VALUES('decisions',5);
COMMIT;
