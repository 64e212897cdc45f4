/*
 * A PKCS#11 module that passes every call on to the real one, and fails on request. It is configured by files beside its own:
 *   <this file>.real      path of the real module
 *   <this file>.control   faults, one a line, read again at each call: function fault argument times tag
 *                         times 0 is always; n is n calls altogether, over all processes, counted by files <this file>.<tag>.<i>
 *   <this file>.log       one line a call of a wrapped function: time in ms, process, function, key, mechanism, input, return value
 *   <this file>.wrong     one octet for each wrong PIN since the last right one
 * Layout and numbers are those of PKCS#11 2.40 for Unix (no packing; CK_ULONG is long).
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef unsigned char byte_t;
typedef struct { unsigned char version[2]; void *call[68]; } function_list;
typedef struct { ulong_t type; void *value; ulong_t length; } attribute;
typedef struct { ulong_t mechanism; void *parameter; ulong_t length; } mechanism_t;

/* Places in CK_FUNCTION_LIST. */
enum { INITIALIZE = 0, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, CLOSE_SESSION = 13, LOGIN = 18, DESTROY_OBJECT = 22,
       GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS_INIT = 26, FIND_OBJECTS = 27,
       FIND_OBJECTS_FINAL = 28, SIGN_INIT = 42, SIGN = 43, GENERATE_KEY_PAIR = 59 };

static function_list *real_module;
static function_list wrapped;
static char own_path[3000];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long open_sessions;

/* What C_SignInit said of a session, for the log of C_Sign. */
#define REMEMBERED 4096
static struct { ulong_t session; ulong_t mechanism; char key[33]; } remembered[REMEMBERED];

#define CALL(place, type) ((type)real_module->call[place])

static void beside(char *path, size_t size, const char *suffix) { snprintf(path, size, "%s.%s", own_path, suffix); }

static void wait_ms(long ms) {
  struct timespec span;
  span.tv_sec = ms / 1000;
  span.tv_nsec = (ms % 1000) * 1000000L;
  nanosleep(&span, NULL);
}

/* The calls of one process on several threads draw one after another from one sequence. */
static long drawn_up_to(long most) {
  static unsigned int seed = 1;
  long value;
  pthread_mutex_lock(&lock);
  value = rand_r(&seed) % (most + 1);
  pthread_mutex_unlock(&lock);
  return value;
}

static void hexadecimal(char *text, const byte_t *bytes, ulong_t length) {
  ulong_t i;
  for (i = 0; i < length; i += 1) sprintf(text + 2 * i, "%02x", bytes[i]);
  text[2 * length] = 0;
}

static void write_log(const char *function, const char *key, ulong_t mechanism, const char *input, ulong_t result) {
  char path[3100], line[1024];
  struct timespec now;
  int file, length;
  clock_gettime(CLOCK_REALTIME, &now);
  length = snprintf(line, sizeof line, "%lld %d %s %s %lu %s %lu\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, (int)getpid(),
                    function, key, mechanism, input, result);
  beside(path, sizeof path, "log");
  file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)length) < 0) abort();
  close(file);
}

/* Whether one of `times` uses of the fault `tag` is left, in whichever process. */
static int spend(const char *tag, long times) {
  char path[3200];
  long i;
  for (i = 0; times == 0 || i < times; i += 1) {
    int file;
    if (times == 0) return 1;
    snprintf(path, sizeof path, "%s.%s.%ld", own_path, tag, i);
    file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (file >= 0) { close(file); return 1; }
  }
  return 0;
}

/* The argument of `fault` for `function` when it is to happen now, else -1. */
static long fault_of(const char *function, const char *fault) {
  char path[3100], line[256], name[64], kind[32], tag[64];
  long argument, times, result = -1;
  FILE *control;
  beside(path, sizeof path, "control");
  control = fopen(path, "r");
  if (!control) return -1;
  while (result < 0 && fgets(line, sizeof line, control)) {
    if (sscanf(line, "%63s %31s %ld %ld %63s", name, kind, &argument, &times, tag) != 5) continue;
    if (strcmp(name, function) == 0 && strcmp(kind, fault) == 0 && spend(tag, times)) result = argument;
  }
  fclose(control);
  return result;
}

/* Faults before the real call. Gives a return value when the real call must not happen, else -1. */
static long before(const char *function) {
  long argument = fault_of(function, "latency");
  if (argument >= 0) wait_ms(argument);
  argument = fault_of(function, "drawn");
  if (argument >= 0) wait_ms(drawn_up_to(argument));
  argument = fault_of(function, "hang");
  if (argument == 0) for (;;) pause();
  if (argument > 0) wait_ms(argument);
  if (fault_of(function, "abort") >= 0) abort();
  if (fault_of(function, "crash") >= 0) raise(SIGSEGV);
  return fault_of(function, "return");
}

/* The token did the work and the answer is lost: its return value becomes another. */
static ulong_t after(const char *function, ulong_t result) {
  long argument = fault_of(function, "lost");
  return argument >= 0 ? (ulong_t)argument : result;
}

static ulong_t initialize(void *arguments) {
  long fault = before("C_Initialize");
  ulong_t result = fault >= 0 ? (ulong_t)fault : CALL(INITIALIZE, ulong_t (*)(void *))(arguments);
  write_log("C_Initialize", "-", 0, "-", result);
  return result;
}

static long wrong_pins(void) {
  char path[3100];
  struct stat status;
  beside(path, sizeof path, "wrong");
  return stat(path, &status) == 0 ? (long)status.st_size : 0;
}

/* CK_TOKEN_INFO: four blank-padded texts of 96 octets together, then the flags. */
static ulong_t get_token_info(ulong_t slot, byte_t *information) {
  long fault = before("C_GetTokenInfo"), tries = fault_of("C_Login", "tries"), wrong = wrong_pins();
  ulong_t result = fault >= 0 ? (ulong_t)fault : CALL(GET_TOKEN_INFO, ulong_t (*)(ulong_t, byte_t *))(slot, information);
  if (result == 0 && tries > 0) {
    ulong_t flags;
    memcpy(&flags, information + 96, sizeof flags);
    flags &= ~0x70000UL;
    if (wrong > 0) flags |= 0x10000UL;
    if (wrong == tries - 1) flags |= 0x20000UL;
    if (wrong >= tries) flags |= 0x40000UL;
    memcpy(information + 96, &flags, sizeof flags);
  }
  return result;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *application, void *notify, ulong_t *session) {
  long fault = before("C_OpenSession"), limit = fault_of("C_OpenSession", "limit");
  ulong_t result;
  pthread_mutex_lock(&lock);
  if (fault >= 0) result = (ulong_t)fault;
  else if (limit >= 0 && open_sessions >= limit) result = 0xb1;
  else result = CALL(OPEN_SESSION, ulong_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *))(slot, flags, application, notify, session);
  if (result == 0) open_sessions += 1;
  pthread_mutex_unlock(&lock);
  write_log("C_OpenSession", "-", 0, "-", result);
  return result;
}

static ulong_t close_session(ulong_t session) {
  ulong_t result = CALL(CLOSE_SESSION, ulong_t (*)(ulong_t))(session);
  pthread_mutex_lock(&lock);
  if (result == 0) open_sessions -= 1;
  pthread_mutex_unlock(&lock);
  return result;
}

static ulong_t login(ulong_t session, ulong_t user, byte_t *pin, ulong_t length) {
  long fault = before("C_Login"), tries = fault_of("C_Login", "tries");
  char path[3100];
  ulong_t result;
  beside(path, sizeof path, "wrong");
  if (fault >= 0) result = (ulong_t)fault;
  else if (tries > 0 && wrong_pins() >= tries) result = 0xa4;
  else result = CALL(LOGIN, ulong_t (*)(ulong_t, ulong_t, byte_t *, ulong_t))(session, user, pin, length);
  if (result == 0xa0) {
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) { if (write(file, "x", 1) < 0) abort(); close(file); }
  }
  if (result == 0) unlink(path);
  write_log("C_Login", "-", 0, "-", result);
  return result;
}

static ulong_t find_objects_init(ulong_t session, attribute *attributes, ulong_t count) {
  long fault = before("C_FindObjectsInit");
  ulong_t result = fault >= 0 ? (ulong_t)fault : CALL(FIND_OBJECTS_INIT, ulong_t (*)(ulong_t, attribute *, ulong_t))(session, attributes, count);
  write_log("C_FindObjectsInit", "-", 0, "-", result);
  return result;
}

/* Another private key of the same type, or `key` where the token holds no other. */
static ulong_t other_key(ulong_t session, ulong_t key) {
  ulong_t class_value = 3, type = 0, found = 0, handle = key, result = key;
  attribute type_of = { 0x100, &type, sizeof type };
  attribute wanted[2] = { { 0, &class_value, sizeof class_value }, { 0x100, &type, sizeof type } };
  if (CALL(GET_ATTRIBUTE_VALUE, ulong_t (*)(ulong_t, ulong_t, attribute *, ulong_t))(session, key, &type_of, 1) != 0) return key;
  if (CALL(FIND_OBJECTS_INIT, ulong_t (*)(ulong_t, attribute *, ulong_t))(session, wanted, 2) != 0) return key;
  while (result == key && CALL(FIND_OBJECTS, ulong_t (*)(ulong_t, ulong_t *, ulong_t, ulong_t *))(session, &handle, 1, &found) == 0 && found == 1)
    result = handle;
  CALL(FIND_OBJECTS_FINAL, ulong_t (*)(ulong_t))(session);
  return result;
}

static ulong_t sign_init(ulong_t session, mechanism_t *mechanism, ulong_t key) {
  byte_t id[16];
  attribute wanted = { 0x102, id, sizeof id };
  long fault = before("C_SignInit");
  ulong_t i = session % REMEMBERED;
  ulong_t known = CALL(GET_ATTRIBUTE_VALUE, ulong_t (*)(ulong_t, ulong_t, attribute *, ulong_t))(session, key, &wanted, 1);
  remembered[i].session = session;
  remembered[i].mechanism = mechanism->mechanism;
  strcpy(remembered[i].key, "-");
  if (known == 0 && wanted.length == sizeof id) hexadecimal(remembered[i].key, id, sizeof id);
  if (fault >= 0) return (ulong_t)fault;
  if (fault_of("C_SignInit", "other") >= 0) key = other_key(session, key);
  return CALL(SIGN_INIT, ulong_t (*)(ulong_t, mechanism_t *, ulong_t))(session, mechanism, key);
}

static ulong_t sign(ulong_t session, byte_t *data, ulong_t length, byte_t *signature, ulong_t *signature_length) {
  long fault = before("C_Sign"), flip = fault_of("C_Sign", "flip");
  ulong_t i = session % REMEMBERED, result;
  char input[260];
  if (length <= 128) hexadecimal(input, data, length);
  else snprintf(input, sizeof input, "%lu-octets", length);
  if (fault >= 0) {
    write_log("C_Sign", remembered[i].key, remembered[i].mechanism, input, (ulong_t)fault);
    return (ulong_t)fault;
  }
  result = CALL(SIGN, ulong_t (*)(ulong_t, byte_t *, ulong_t, byte_t *, ulong_t *))(session, data, length, signature, signature_length);
  write_log("C_Sign", remembered[i].key, remembered[i].mechanism, input, result);
  if (result == 0 && flip >= 0) signature[(flip / 8) % (long)*signature_length] ^= (byte_t)(1 << (flip % 8));
  if (result == 0 && fault_of("C_Sign", "zeros") >= 0) memset(signature, 0, *signature_length);
  return after("C_Sign", result);
}

/* Whether a template asks for an object of the token, not of the session. */
static int in_token(const attribute *attributes, ulong_t count) {
  ulong_t i;
  for (i = 0; i < count; i += 1) if (attributes[i].type == 1) return attributes[i].length == 1 && *(byte_t *)attributes[i].value;
  return 0;
}

static ulong_t generate_key_pair(ulong_t session, mechanism_t *mechanism, attribute *public_attributes, ulong_t public_count,
                                 attribute *private_attributes, ulong_t private_count, ulong_t *public_key, ulong_t *private_key) {
  long fault = before("C_GenerateKeyPair");
  ulong_t result;
  if (fault >= 0) return (ulong_t)fault;
  result = CALL(GENERATE_KEY_PAIR, ulong_t (*)(ulong_t, mechanism_t *, attribute *, ulong_t, attribute *, ulong_t, ulong_t *, ulong_t *))(
      session, mechanism, public_attributes, public_count, private_attributes, private_count, public_key, private_key);
  write_log("C_GenerateKeyPair", "-", mechanism->mechanism, "-", result);
  if (!in_token(public_attributes, public_count)) return result;
  /* Half a pair: what is left when a process dies between the two objects. */
  if (result == 0 && fault_of("C_GenerateKeyPair", "half") >= 0) {
    CALL(DESTROY_OBJECT, ulong_t (*)(ulong_t, ulong_t))(session, *private_key);
    raise(SIGKILL);
  }
  /* A whole pair of which nobody learns. */
  if (result == 0 && fault_of("C_GenerateKeyPair", "die") >= 0) raise(SIGKILL);
  return after("C_GenerateKeyPair", result);
}

static int load_real_module(void) {
  char path[3100], target[3000];
  Dl_info self;
  FILE *file;
  void *library;
  ulong_t (*get_list)(function_list **);
  if (!dladdr((void *)&wrapped, &self) || strlen(self.dli_fname) >= sizeof own_path) return 0;
  strcpy(own_path, self.dli_fname);
  beside(path, sizeof path, "real");
  file = fopen(path, "r");
  if (!file || !fgets(target, sizeof target, file)) return 0;
  fclose(file);
  target[strcspn(target, "\n")] = 0;
  library = dlopen(target, RTLD_NOW | RTLD_LOCAL);
  if (!library) return 0;
  get_list = (ulong_t (*)(function_list **))dlsym(library, "C_GetFunctionList");
  return get_list && get_list(&real_module) == 0;
}

#ifdef __cplusplus
extern "C"
#endif
ulong_t C_GetFunctionList(function_list **list) {
  if (!real_module) {
    if (!load_real_module()) return 0x05;
    wrapped = *real_module;
    wrapped.call[INITIALIZE] = (void *)initialize;
    wrapped.call[GET_TOKEN_INFO] = (void *)get_token_info;
    wrapped.call[OPEN_SESSION] = (void *)open_session;
    wrapped.call[CLOSE_SESSION] = (void *)close_session;
    wrapped.call[LOGIN] = (void *)login;
    wrapped.call[FIND_OBJECTS_INIT] = (void *)find_objects_init;
    wrapped.call[SIGN_INIT] = (void *)sign_init;
    wrapped.call[SIGN] = (void *)sign;
    wrapped.call[GENERATE_KEY_PAIR] = (void *)generate_key_pair;
  }
  *list = &wrapped;
  return 0;
}
