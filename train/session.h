/*
 * What a command works on: a device, a model with or without an adapter, its tokenizer and chat template, and the
 * samples of a data file.
 */
#ifndef HONE_TRAIN_SESSION_H
#define HONE_TRAIN_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/samples.h"
#include "model/lora.h"
#include "model/model.h"

typedef struct hone_session {
    hone_device device;
    hone_model *model;
    char model_hash[HONE_SHA256_TEXT], vocabulary_hash[HONE_SHA256_TEXT]; /* "" until asked for */
    pthread_t hasher; /* where `hashing`: takes the model's hash beside everything else */
    bool hashing;
    atomic_bool closing;           /* that thread is to give up */
    char hashed[HONE_SHA256_TEXT]; /* by it; "" where it failed */
    hone_adapter *adapter;
    hone_tokenizer *tokenizer;
    hone_chat_template *chat; /* owned */
    hone_buf chat_variables;  /* for hone_session_info */
    bool chat_named;          /* the template was asked for by name, not taken from the model */
    const char *base;         /* borrowed: the path whose tokenizer and template they are */
    hone_datafile *data;
    hone_samples *samples;
} hone_session;

/* Sets the thread count (0: every core) and opens a device of the kind (of GPUs that of the number `gpu`), model and
 * tokenizer; `chat` is a template's name, a path or "auto". `model_path` is borrowed. With
 * `config` the model is made fresh from that config.json and `model_path` gives the tokenizer only. With `hash` as
 * hone_session_begin_hash. */
HONE_MUST_USE hone_status hone_session_open(hone_session *out, hone_device_kind device, int gpu,
                                            const char *model_path, const char *config,
                                            const char *chat, int64_t threads, uint64_t seed,
                                            bool hash);

/* Opens an adapter for the model, checking what it was trained with. The template's variables that it was trained with
 * are taken over where none were set. *warning (cleared first) gets a line for a person when that was another base or
 * another chat template. */
HONE_MUST_USE hone_status hone_session_open_adapter(hone_session *session, hone_buf *warning,
                                                    const char *path);

/* That line, for an adapter that is used in the session; nothing where there is no doubt. */
HONE_MUST_USE hone_status hone_session_doubts(hone_buf *warning, const hone_session *session,
                                              const hone_adapter *adapter, const char *path);

/* What an adapter of this session was trained with, and is used with: hashes and names, borrowed from it. */
HONE_MUST_USE hone_status hone_session_info(hone_adapter_info *out, hone_session *session);

/* A thread begins to compute model_hash, unless there is one; the session must then stay where it is. Where no thread can be had,
 * whoever asks for the hash computes it. */
void hone_session_begin_hash(hone_session *session);

/* Computes model_hash once, or waits for it. */
HONE_MUST_USE hone_status hone_session_hash_model(hone_session *session);

/* Opens a data file, or imports any file that `data add` reads into `import_to` first (NULL: a temporary file that is
 * gone afterwards), and makes its samples. */
HONE_MUST_USE hone_status hone_session_open_data(hone_session *session, const char *path,
                                                 const char *import_to,
                                                 const hone_samples_options *options);

/* Does not wait for a hash that nobody will ask for. Takes a zeroed one. */
void hone_session_close(hone_session *session);

#endif
