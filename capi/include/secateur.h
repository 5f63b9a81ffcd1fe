/* Secateur's engine for C and C++. Made by cbindgen from capi/src: do not edit.
 *
 * A network is opened, described, run and freed. Every function may be called from any thread, on the
 * same session at the same time, except that what is being freed must not be in use.
 *
 * A pointer that is passed is null or points to as much as its parameters say, for as long as the call
 * takes; where something is needed, null is refused with a status. Texts are UTF-8 and end with a zero.
 * Who owns what is said with each function: what the library gives out is freed by the library's own
 * functions only, and freeing null does nothing.
 *
 * Where a status is not SECATEUR_STATUS_OK, nothing was given out and secateur_last_error says why. Nothing
 * unwinds or throws into the caller.
 */

#ifndef SECATEUR_H
#define SECATEUR_H

#include <stddef.h>
#include <stdint.h>

/**
 * How a call ended; `secateur_last_error` says it in words.
 */
enum secateur_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * All is well.
   */
  SECATEUR_STATUS_OK = 0,
  /**
   * A null pointer, an index out of range, an option without meaning.
   */
  SECATEUR_STATUS_ARGUMENT = 1,
  /**
   * The system refused to read the file.
   */
  SECATEUR_STATUS_FILE = 2,
  /**
   * The bytes are no network, or contradict themselves.
   */
  SECATEUR_STATUS_MALFORMED = 3,
  /**
   * A network that this build does not run.
   */
  SECATEUR_STATUS_UNSUPPORTED = 4,
  /**
   * An input is missing or not the network's, or is of another type, extents or size.
   */
  SECATEUR_STATUS_INPUT = 5,
  /**
   * A buffer is not of its output's size, or there are not as many as outputs.
   */
  SECATEUR_STATUS_OUTPUT = 6,
  /**
   * The system does not give the memory or the threads.
   */
  SECATEUR_STATUS_RESOURCES = 7,
  /**
   * A defect of Secateur.
   */
  SECATEUR_STATUS_INTERNAL = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum secateur_status secateur_status;
#else
typedef int32_t secateur_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Types of elements; the numbers are those of ONNX's `TensorProto.DataType`.
 */
enum secateur_dtype
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * `float`.
   */
  SECATEUR_DTYPE_F32 = 1,
  /**
   * `uint8_t`.
   */
  SECATEUR_DTYPE_U8 = 2,
  /**
   * `int8_t`.
   */
  SECATEUR_DTYPE_I8 = 3,
  /**
   * `uint16_t`.
   */
  SECATEUR_DTYPE_U16 = 4,
  /**
   * `int16_t`.
   */
  SECATEUR_DTYPE_I16 = 5,
  /**
   * `int32_t`.
   */
  SECATEUR_DTYPE_I32 = 6,
  /**
   * `int64_t`.
   */
  SECATEUR_DTYPE_I64 = 7,
  /**
   * One byte: 0 is false, all else true.
   */
  SECATEUR_DTYPE_BOOL = 9,
  /**
   * IEEE 754 binary16.
   */
  SECATEUR_DTYPE_F16 = 10,
  /**
   * `double`.
   */
  SECATEUR_DTYPE_F64 = 11,
  /**
   * `uint32_t`.
   */
  SECATEUR_DTYPE_U32 = 12,
  /**
   * `uint64_t`.
   */
  SECATEUR_DTYPE_U64 = 13,
  /**
   * The upper half of a `float`.
   */
  SECATEUR_DTYPE_BF16 = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum secateur_dtype secateur_dtype;
#else
typedef int32_t secateur_dtype;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The outputs of a run, which may outlive its session. Any number of threads may read them at once.
 */
typedef struct secateur_outputs secateur_outputs;

/**
 * A network ready to run. Any number of threads may use one at once; only `secateur_session_free` must come last.
 * Plans are kept for each set of extents that it ran with, and memory for as many runs as there were at once.
 */
typedef struct secateur_session secateur_session;

/**
 * A tensor that lies elsewhere: this owns none of what it points to.
 *
 * As an input it points to the caller's memory, which is read during the call and not after it. Those that the library
 * fills in point to memory of the session, or of the outputs, that they were asked of.
 */
typedef struct secateur_tensor {
  /**
   * The name; of an input, null means the network's input at the same place.
   */
  const char *name;
  /**
   * A `secateur_dtype`.
   */
  int32_t dtype;
  /**
   * Number of extents; -1 where a network leaves it open.
   */
  int32_t rank;
  /**
   * The extents, outermost first; -1 where a network leaves one open.
   */
  const int64_t *dims;
  /**
   * The elements, row-major, at any address; null in a description.
   */
  const void *data;
  /**
   * Bytes of the elements.
   */
  size_t bytes;
} secateur_tensor;

/**
 * How a session runs. All zeros, and null instead, leave everything to the environment and the machine.
 */
typedef struct secateur_options {
  /**
   * Threads, the caller's among them; 0: `SECATEUR_THREADS`, else as many as the machine runs at once. Those beside the
   * caller wait awake for half a millisecond after a run.
   */
  uint32_t threads;
  /**
   * Whether kernels are chosen by what they cost on this machine, which is measured the first time (a tenth of a second)
   * and kept in the user's cache: positive, yes; negative, no, by typical costs; 0: `SECATEUR_CALIBRATE`, else yes.
   * A library that was built without `calibrate` goes by typical costs. Results are the same.
   */
  int32_t calibrate;
  /**
   * The instruction set, such as "avx2" or "generic"; null: `SECATEUR_ISA`, else the best there is. Results are the same.
   */
  const char *isa;
} secateur_options;

/**
 * Memory of the caller's that an output is written to.
 */
typedef struct secateur_buffer {
  /**
   * Where it begins.
   */
  void *data;
  /**
   * Its bytes: as many as the output has.
   */
  size_t bytes;
} secateur_buffer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * How many inputs the network takes; 0 for null.
 */
size_t secateur_session_input_count(const struct secateur_session *session);

/**
 * How many outputs the network gives; 0 for null.
 */
size_t secateur_session_output_count(const struct secateur_session *session);

/**
 * Describes an input: name, type and extents, which stay the session's. With `data`, `bytes` and, where extents are open,
 * `dims` filled in, the description is what a run takes.
 */
secateur_status secateur_session_input(const struct secateur_session *session,
                                       size_t index,
                                       struct secateur_tensor *input);

/**
 * Describes an output: name, type and extents, which stay the session's.
 */
secateur_status secateur_session_output(const struct secateur_session *session,
                                        size_t index,
                                        struct secateur_tensor *output);

/**
 * Text that is kept with the network, such as its class names, one a line (`classes`); null if there is none of that key.
 * It stays the session's.
 */
const char *secateur_session_metadata(const struct secateur_session *session,
                                      const char *key);

/**
 * Why the latest call of this thread that failed did so; empty if none did. The library owns the text, which stays
 * until the next call that fails on this thread, or the thread's end. A call that succeeds leaves it.
 */
const char *secateur_last_error(void);

/**
 * Reads a network from a file (`.sct`; `.onnx` where the library was built with it) and makes it ready to run.
 *
 * `session` becomes the caller's, to be freed with `secateur_session_free`; it is null where this fails. The file and
 * `options` are not needed afterwards.
 */
secateur_status secateur_session_open(const char *path,
                                      const struct secateur_options *options,
                                      struct secateur_session **session);

/**
 * Reads a network from the bytes of a `.sct` file, wherever they lie (in flash, in the executable), and makes it ready to
 * run. As `secateur_session_open` otherwise; the bytes are not needed afterwards.
 */
secateur_status secateur_session_open_bytes(const void *bytes,
                                            size_t length,
                                            const struct secateur_options *options,
                                            struct secateur_session **session);

/**
 * How many outputs there are; 0 for null.
 */
size_t secateur_outputs_count(const struct secateur_outputs *outputs);

/**
 * Gives an output, in the network's order. All that it points to stays that of `outputs`.
 */
secateur_status secateur_outputs_get(const struct secateur_outputs *outputs,
                                     size_t index,
                                     struct secateur_tensor *output);

/**
 * Frees outputs and all that was asked of them. Null is left alone.
 */
void secateur_outputs_free(struct secateur_outputs *outputs);

/**
 * Runs the network on inputs in any order, by name or, without names, by place.
 *
 * `outputs` become the caller's, to be freed with `secateur_outputs_free`; they are null where this fails.
 */
secateur_status secateur_session_run(const struct secateur_session *session,
                                     const struct secateur_tensor *inputs,
                                     size_t input_count,
                                     struct secateur_outputs **outputs);

/**
 * Runs the network and writes its outputs, in the network's order, to memory of the caller's: a buffer each, of exactly
 * its bytes. Where this fails nothing is written.
 */
secateur_status secateur_session_run_into(const struct secateur_session *session,
                                          const struct secateur_tensor *inputs,
                                          size_t input_count,
                                          const struct secateur_buffer *outputs,
                                          size_t output_count);

/**
 * Frees a session and all that was asked of it, but for outputs. No other call may use it, now or later. Null is left
 * alone.
 */
void secateur_session_free(struct secateur_session *session);

/**
 * The library's version, such as "0.1.0". The text is static.
 */
const char *secateur_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SECATEUR_H */
