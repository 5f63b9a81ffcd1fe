/* What a network sees in one picture:
 *
 *     classify network.sct [input.raw [output.raw]]
 *
 * input.raw holds the elements of the first input as they lie in memory; without it the picture is
 * empty. Open extents, such as the batch, are taken to be 1. output.raw gets those of the first output.
 *
 *     capi/size.sh
 *     cc -O2 -Icapi/include capi/examples/classify.c target/device/libsecateur_device.a -lpthread -ldl -lm
 */
#define _POSIX_C_SOURCE 200809L

#include "secateur.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_RANK = 8 };

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, secateur_last_error());
  return EXIT_FAILURE;
}

static void print_tensor(const char *kind, const secateur_tensor *tensor) {
  printf("%s %s, type %" PRId32 ", [", kind, tensor->name, tensor->dtype);
  for (int32_t axis = 0; axis < tensor->rank; axis++)
    printf("%s%" PRId64, axis ? ", " : "", tensor->dims[axis]);
  printf("]\n");
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* The line of a number in a text of lines; "" where there is none. */
static void print_line(const char *text, size_t number) {
  while (text && number--) {
    text = strchr(text, '\n');
    text = text ? text + 1 : NULL;
  }
  printf("%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
}

/* A picture for an input of f32: from a file, or empty. Its memory is the caller's. */
static float *read_picture(const char *path, size_t bytes) {
  float *picture = calloc(1, bytes ? bytes : 1);
  FILE *file = path ? fopen(path, "rb") : NULL;
  if (picture && path && (!file || fread(picture, 1, bytes, file) != bytes)) {
    fprintf(stderr, "%s: %zu bytes are needed\n", path, bytes);
    free(picture);
    picture = NULL;
  }
  if (file)
    fclose(file);
  return picture;
}

static int write_bytes(const char *path, const secateur_tensor *tensor) {
  FILE *file = fopen(path, "wb");
  size_t written = file ? fwrite(tensor->data, 1, tensor->bytes, file) : 0;
  if (file && fclose(file) == 0 && written == tensor->bytes)
    return EXIT_SUCCESS;
  perror(path);
  return EXIT_FAILURE;
}

/* Runs the network on one picture and says what it is. */
static int classify(const secateur_session *session, const char *from, const char *to) {
  secateur_tensor input;
  if (secateur_session_input(session, 0, &input) != SECATEUR_STATUS_OK)
    return fail("input");
  if (input.dtype != SECATEUR_DTYPE_F32 || input.rank < 0 || input.rank > MAX_RANK) {
    fprintf(stderr, "the input is not of f32, or has too many extents\n");
    return EXIT_FAILURE;
  }
  int64_t dims[MAX_RANK];
  input.bytes = sizeof(float);
  for (int32_t axis = 0; axis < input.rank; axis++) {
    dims[axis] = input.dims[axis] < 0 ? 1 : input.dims[axis];
    input.bytes *= (size_t)dims[axis];
  }
  input.dims = dims;
  float *picture = read_picture(from, input.bytes);
  if (!picture)
    return EXIT_FAILURE;
  input.data = picture;

  /* The first run plans; the others show how long a run takes. */
  enum { RUNS = 100 };
  secateur_outputs *outputs = NULL;
  secateur_status status = secateur_session_run(session, &input, 1, &outputs);
  double start = now_us();
  for (int run = 0; run < RUNS && status == SECATEUR_STATUS_OK; run++) {
    secateur_outputs_free(outputs);
    status = secateur_session_run(session, &input, 1, &outputs);
  }
  double took = (now_us() - start) / RUNS;
  free(picture);
  secateur_tensor scores;
  if (status != SECATEUR_STATUS_OK ||
      secateur_outputs_get(outputs, 0, &scores) != SECATEUR_STATUS_OK)
    return fail("run");

  if (scores.dtype == SECATEUR_DTYPE_F32 && scores.bytes > 0) {
    const float *score = scores.data;
    size_t best = 0;
    for (size_t i = 1; i < scores.bytes / sizeof(float); i++)
      best = score[i] > score[best] ? i : best;
    printf("class %zu ", best);
    print_line(secateur_session_metadata(session, "classes"), best);
    printf(", score %g, %.1f us a run\n", score[best], took);
  }
  int result = to ? write_bytes(to, &scores) : EXIT_SUCCESS;
  secateur_outputs_free(outputs);
  return result;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    fprintf(stderr, "classify network.sct [input.raw [output.raw]]\n");
    return EXIT_FAILURE;
  }
  secateur_session *session;
  if (secateur_session_open(argv[1], NULL, &session) != SECATEUR_STATUS_OK)
    return fail("open");
  printf("secateur %s\n", secateur_version());
  secateur_tensor tensor;
  for (size_t i = 0; secateur_session_input(session, i, &tensor) == SECATEUR_STATUS_OK; i++)
    print_tensor("input", &tensor);
  for (size_t i = 0; secateur_session_output(session, i, &tensor) == SECATEUR_STATUS_OK; i++)
    print_tensor("output", &tensor);
  int result = classify(session, argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
  secateur_session_free(session);
  return result;
}
