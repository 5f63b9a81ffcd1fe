/* What the header promises, tried from C (and, compiled as such, C++): `contract network.sct`. */
#include "secateur.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                               \
  do {                                                                                            \
    if (!(what)) {                                                                                \
      fprintf(stderr, "line %d: %s; latest error: %s\n", __LINE__, #what, secateur_last_error()); \
      exit(EXIT_FAILURE);                                                                         \
    }                                                                                             \
  } while (0)
#define FAILS(call, as, word)                                                                     \
  do {                                                                                            \
    CHECK((call) == SECATEUR_STATUS_##as);                                                        \
    CHECK(strstr(secateur_last_error(), word));                                                   \
  } while (0)
#define WORKS(call) CHECK((call) == SECATEUR_STATUS_OK)

enum { PIXELS = 28 * 28, CLASSES = 10, THREADS = 4, RUNS = 25 };

static secateur_session *session;
static float picture[PIXELS];
static const int64_t extents[4] = {1, 1, 28, 28};

/* The input as it should be. */
static secateur_tensor good(void) {
  secateur_tensor input;
  WORKS(secateur_session_input(session, 0, &input));
  input.dims = extents;
  input.data = picture;
  input.bytes = sizeof picture;
  return input;
}

static void run_into(float *scores) {
  secateur_tensor input = good();
  secateur_buffer buffer = {scores, CLASSES * sizeof(float)};
  WORKS(secateur_session_run_into(session, &input, 1, &buffer, 1));
}

static void describes(void) {
  CHECK(secateur_session_input_count(session) == 1);
  CHECK(secateur_session_output_count(session) == 1);
  secateur_tensor tensor;
  WORKS(secateur_session_input(session, 0, &tensor));
  CHECK(strcmp(tensor.name, "input") == 0 && tensor.dtype == SECATEUR_DTYPE_F32);
  CHECK(tensor.rank == 4 && tensor.dims[0] == -1 && tensor.dims[3] == 28);
  CHECK(!tensor.data && tensor.bytes == 0);
  WORKS(secateur_session_output(session, 0, &tensor));
  CHECK(tensor.rank == 2 && tensor.dims[1] == CLASSES);
  const char *classes = secateur_session_metadata(session, "classes");
  CHECK(classes && strcmp(classes, "zero\none") == 0);
  CHECK(!secateur_session_metadata(session, "nothing"));
}

static void both_ways_give_the_same(void) {
  float scores[CLASSES];
  run_into(scores);
  secateur_tensor input = good(), output;
  input.name = NULL;
  secateur_outputs *outputs;
  WORKS(secateur_session_run(session, &input, 1, &outputs));
  CHECK(secateur_outputs_count(outputs) == 1);
  WORKS(secateur_outputs_get(outputs, 0, &output));
  CHECK(output.rank == 2 && output.dims[0] == 1 && output.bytes == sizeof scores);
  CHECK(memcmp(output.data, scores, sizeof scores) == 0);
  FAILS(secateur_outputs_get(outputs, 1, &output), ARGUMENT, "index 1");
  secateur_outputs_free(outputs);

  /* At an address that no float has, and written over its own input. */
  char raw[sizeof picture + 1];
  memcpy(raw + 1, picture, sizeof picture);
  input.data = raw + 1;
  secateur_buffer buffer = {raw + 1, sizeof scores};
  WORKS(secateur_session_run_into(session, &input, 1, &buffer, 1));
  CHECK(memcmp(raw + 1, scores, sizeof scores) == 0);
}

static void inputs_are_refused(void) {
  secateur_tensor input = good();
  secateur_outputs *outputs = (secateur_outputs *)picture;
  FAILS(secateur_session_run(session, NULL, 0, &outputs), INPUT, "`input` is missing");
  CHECK(!outputs);
  FAILS(secateur_session_run(session, NULL, 1, &outputs), ARGUMENT, "`inputs` is null");
  FAILS(secateur_session_run(session, &input, SIZE_MAX, &outputs), ARGUMENT, "`inputs`");

  input.dtype = SECATEUR_DTYPE_I32;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "needed elements of type f32");
  input.dtype = 1000;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "type 1000");
  input = good();
  input.name = "picture";
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "`picture`");
  input.name = "\xff";
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "UTF-8");

  int64_t dims[4] = {1, 28, 28, 1};
  input = good();
  input.dims = dims;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "`input`");
  dims[0] = -1;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "extent of -1");
  dims[0] = dims[1] = dims[2] = INT64_MAX;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "`input`");
  input.dims = NULL;
  FAILS(secateur_session_run(session, &input, 1, &outputs), ARGUMENT, "`dims` is null");
  input = good();
  input.rank = -1;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "rank of -1");
  input.rank = 2;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "bytes");
  input = good();
  input.bytes--;
  FAILS(secateur_session_run(session, &input, 1, &outputs), INPUT, "3136 bytes");
  input = good();
  input.data = NULL;
  FAILS(secateur_session_run(session, &input, 1, &outputs), ARGUMENT, "`data` is null");

  secateur_tensor twice[2] = {good(), good()};
  FAILS(secateur_session_run(session, twice, 2, &outputs), INPUT, "twice");
  twice[1].name = NULL;
  FAILS(secateur_session_run(session, twice, 2, &outputs), INPUT, "input 1");
}

static void buffers_are_refused(void) {
  float scores[CLASSES];
  secateur_tensor input = good();
  secateur_buffer buffer = {scores, sizeof scores - 1};
  FAILS(secateur_session_run_into(session, &input, 1, &buffer, 1), OUTPUT, "40 bytes");
  buffer.bytes = sizeof scores;
  FAILS(secateur_session_run_into(session, &input, 1, &buffer, 0), OUTPUT, "0 buffers");
  buffer.data = NULL;
  FAILS(secateur_session_run_into(session, &input, 1, &buffer, 1), OUTPUT, "null");
  FAILS(secateur_session_run_into(session, &input, 1, NULL, 1), ARGUMENT, "`outputs` is null");
}

static void null_is_refused(const char *path) {
  secateur_tensor tensor;
  secateur_outputs *outputs;
  secateur_session *none;
  FAILS(secateur_session_open(NULL, NULL, &none), ARGUMENT, "`path` is null");
  CHECK(!none);
  FAILS(secateur_session_open(path, NULL, NULL), ARGUMENT, "`session` is null");
  FAILS(secateur_session_open_bytes(NULL, 9, NULL, &none), ARGUMENT, "`bytes` is null");
  FAILS(secateur_session_open_bytes(path, 9, NULL, NULL), ARGUMENT, "`session` is null");
  FAILS(secateur_session_input(NULL, 0, &tensor), ARGUMENT, "`session` is null");
  FAILS(secateur_session_input(session, 0, NULL), ARGUMENT, "`input` is null");
  FAILS(secateur_session_input(session, 1, &tensor), ARGUMENT, "index 1");
  FAILS(secateur_session_output(session, SIZE_MAX, &tensor), ARGUMENT, "index");
  FAILS(secateur_session_run(NULL, NULL, 0, &outputs), ARGUMENT, "`session` is null");
  FAILS(secateur_session_run(session, NULL, 0, NULL), ARGUMENT, "`outputs` is null");
  FAILS(secateur_session_run_into(NULL, NULL, 0, NULL, 0), ARGUMENT, "`session` is null");
  FAILS(secateur_outputs_get(NULL, 0, &tensor), ARGUMENT, "`outputs` is null");
  CHECK(!secateur_session_metadata(NULL, "classes"));
  CHECK(!secateur_session_metadata(session, NULL));
  CHECK(secateur_session_input_count(NULL) == 0 && secateur_session_output_count(NULL) == 0);
  CHECK(secateur_outputs_count(NULL) == 0);
  secateur_session_free(NULL);
  secateur_outputs_free(NULL);
}

static void options_are_refused(const char *path) {
  secateur_session *none;
  secateur_options options = {5000, -1, NULL};
  FAILS(secateur_session_open(path, &options, &none), ARGUMENT, "threads");
  options.threads = 1;
  options.isa = "mmx";
  FAILS(secateur_session_open(path, &options, &none), ARGUMENT, "mmx");
}

/* The file's bytes open as the file does; damaged, cut or missing, it does not. */
static void files_are_looked_at(const char *path) {
  secateur_session *other;
  FAILS(secateur_session_open("no/such/file.sct", NULL, &other), FILE, "no/such/file.sct");
  CHECK(!other);
  FAILS(secateur_session_open("", NULL, &other), FILE, "");
  FAILS(secateur_session_open(".", NULL, &other), FILE, "");

  FILE *file = fopen(path, "rb");
  CHECK(file && fseek(file, 0, SEEK_END) == 0);
  size_t length = (size_t)ftell(file);
  rewind(file);
  unsigned char *bytes = (unsigned char *)malloc(length);
  CHECK(bytes && fread(bytes, 1, length, file) == length);
  fclose(file);

  secateur_options options = {1, -1, "generic"};
  WORKS(secateur_session_open_bytes(bytes, length, &options, &other));
  secateur_session_free(other);
  FAILS(secateur_session_open_bytes(bytes, 0, &options, &other), MALFORMED, "bytes");
  FAILS(secateur_session_open_bytes(bytes, 3, &options, &other), MALFORMED, "bytes");
  FAILS(secateur_session_open_bytes(bytes, length - 1, &options, &other), MALFORMED, "bytes");
  bytes[length / 2] ^= 1;
  FAILS(secateur_session_open_bytes(bytes, length, &options, &other), MALFORMED, "bytes");
  memset(bytes, 0, length);
  FAILS(secateur_session_open_bytes(bytes, length, &options, &other), MALFORMED, "SCT");
  free(bytes);
}

/* Runs, and a failure of the thread's own, on the session of all. */
static void *thread(void *expected) {
  CHECK(strcmp(secateur_last_error(), "") == 0);
  for (int run = 0; run < RUNS; run++) {
    float scores[CLASSES];
    run_into(scores);
    CHECK(memcmp(scores, expected, sizeof scores) == 0);
    secateur_outputs *outputs;
    FAILS(secateur_session_run(session, NULL, 0, &outputs), INPUT, "missing");
  }
  return NULL;
}

static void threads_share_a_session(void) {
  float scores[CLASSES];
  run_into(scores);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, thread, scores) == 0);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
}

static void outputs_outlive_their_session(void) {
  secateur_tensor input = good(), output;
  secateur_outputs *outputs;
  WORKS(secateur_session_run(session, &input, 1, &outputs));
  secateur_session_free(session);
  WORKS(secateur_outputs_get(outputs, 0, &output));
  CHECK(strlen(output.name) > 0 && output.bytes == CLASSES * sizeof(float));
  secateur_outputs_free(outputs);
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  CHECK(strcmp(secateur_last_error(), "") == 0);
  CHECK(strchr(secateur_version(), '.'));
  for (int i = 0; i < PIXELS; i++)
    picture[i] = (float)(i % 17) / 17;
  secateur_options options = {2, -1, NULL};
  WORKS(secateur_session_open(argv[1], &options, &session));
  describes();
  both_ways_give_the_same();
  inputs_are_refused();
  buffers_are_refused();
  null_is_refused(argv[1]);
  options_are_refused(argv[1]);
  files_are_looked_at(argv[1]);
  threads_share_a_session();
  outputs_outlive_their_session();
  puts("all is as promised");
  return EXIT_SUCCESS;
}
