// A library for LD_PRELOAD that ends its process by SIGKILL at one chosen call on the run folder, so that a
// test can try every moment at which a crash leaves another folder behind (kill_calls.py).
//
//   KILL_UNDER  the folder whose calls count, an absolute path; without it nothing is counted and nothing
//   happens KILL_AT     KIND:K:before or KIND:K:after, K from 1: the process dies just before or just after
//   its K-th call of
//               the kind; time:MS: it dies MS milliseconds after it started
//   KILL_RANK   only the worker of this rank dies; without it every process under KILL_AT may
//   KILL_LOG    a file where a line is added for every rename that was done, "rename FROM TO", and for the
//   kill, "kill" KILL_COUNTS a file where lines are added at the process's end: "RANK KIND COUNT", RANK "-"
//   for no worker
//
// Kinds: open (for writing), write, truncate, fsync, mkdir, rename, unlink. Read-only calls leave the folder
// as it is and are no moments of their own. Calls inside libc itself (stdio's write behind fwrite) do not
// pass here: nothing in a run folder is written so, as a comparison with strace shows.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>

namespace {

enum Kind { kOpen, kWrite, kTruncate, kFsync, kMkdir, kRename, kUnlink, kKinds };
constexpr const char* kNames[kKinds] = {"open", "write", "truncate", "fsync", "mkdir", "rename", "unlink"};

struct Plan {
  std::string under;
  std::string log;
  std::string counts;
  int kind = -1;
  long k = 0;
  bool after = false;
};

std::atomic<long> calls[kKinds];

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

std::string own_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "THINWIRE_RANK"}) {
    if (const std::string rank = variable(name); !rank.empty()) return rank;
  }
  return "-";
}

bool is_chosen_rank() {
  const std::string wanted = variable("KILL_RANK");
  return wanted.empty() || wanted == own_rank();
}

void die_after(long milliseconds) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer;
  const itimerspec when{{0, 0}, {milliseconds / 1000, milliseconds % 1000 * 1000000}};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &when, nullptr) != 0)
    abort();
}

Plan read_plan() {
  Plan plan{variable("KILL_UNDER"), variable("KILL_LOG"), variable("KILL_COUNTS")};
  const std::string at = variable("KILL_AT");
  if (plan.under.empty() || at.empty() || !is_chosen_rank()) return plan;
  char kind[16] = "", when[16] = "";
  const int fields = sscanf(at.c_str(), "%15[a-z]:%ld:%15s", kind, &plan.k, when);
  if (fields == 2 && strcmp(kind, "time") == 0) {
    die_after(plan.k);
    return plan;
  }
  for (int i = 0; i < kKinds; ++i) {
    if (strcmp(kind, kNames[i]) == 0) plan.kind = i;
  }
  plan.after = strcmp(when, "after") == 0;
  if (fields != 3 || plan.kind < 0 || (!plan.after && strcmp(when, "before") != 0)) {
    fprintf(stderr, "KILL_AT: expected KIND:K:before, KIND:K:after or time:MS, found %s\n", at.c_str());
    abort();
  }
  return plan;
}

const Plan& plan() {
  static const Plan* const read = new Plan(read_plan());  // never destroyed: calls come until the very end
  return *read;
}

std::string link_target(const std::string& link) {
  char target[4096];
  const ssize_t size = readlink(link.c_str(), target, sizeof target);
  return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

std::string path_of(int fd) {
  return link_target("/proc/self/fd/" + std::to_string(fd));
}

std::string path_of(int folder, const char* path) {
  if (path == nullptr || path[0] == '/') return path == nullptr ? "" : path;
  return (folder == AT_FDCWD ? link_target("/proc/self/cwd") : path_of(folder)) + "/" + path;
}

bool is_under(const std::string& path) {
  const std::string& under = plan().under;
  return path.compare(0, under.size(), under) == 0 &&
         (path.size() == under.size() || path[under.size()] == '/');
}

// Adds a line by calls that are not counted.
void add_line(const std::string& file, const std::string& line) {
  const long fd =
      syscall(SYS_openat, AT_FDCWD, file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0 || syscall(SYS_write, fd, line.data(), line.size()) != static_cast<long>(line.size())) abort();
  syscall(SYS_close, fd);
}

void die() {
  if (!plan().log.empty()) add_line(plan().log, "kill\n");
  kill(getpid(), SIGKILL);
}

// Stands around one call.
class Moment {
 public:
  Moment(Kind kind, bool counts) : kind_(kind), counts_(counts) {
    if (!counts_) return;
    number_ = ++calls[kind];
    if (strikes(false)) die();
  }
  ~Moment() {
    if (counts_ && strikes(true)) die();
  }
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;

 private:
  bool strikes(bool after) const {
    return plan().kind == kind_ && plan().k == number_ && plan().after == after;
  }

  Kind kind_;
  bool counts_;
  long number_ = 0;
};

bool watched() {
  return !plan().under.empty();
}

bool counts(int fd) {
  return watched() && fd > 2 && is_under(path_of(fd));
}

bool counts(int folder, const char* path) {
  return watched() && is_under(path_of(folder, path));
}

bool writes(int flags) {
  return (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
}

bool writes(const char* mode) {
  return strpbrk(mode, "wa+") != nullptr;
}

void log_rename(int from_folder, const char* from, int to_folder, const char* to, int result) {
  if (result != 0 || plan().log.empty()) return;
  add_line(plan().log, "rename " + path_of(from_folder, from) + " " + path_of(to_folder, to) + "\n");
}

template <typename Function>
Function* next(const char* name, Function*) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct AtEnd {
  ~AtEnd() {
    if (plan().counts.empty()) return;
    std::string lines;
    for (int kind = 0; kind < kKinds; ++kind) {
      lines += own_rank() + " " + kNames[kind] + " " + std::to_string(calls[kind].load()) + "\n";
    }
    add_line(plan().counts, lines);
  }
} at_end;

__attribute__((constructor)) void start_timer() {
  plan();
}

}  // namespace

#define NEXT(name) static const auto next_##name = next(#name, &::name)
// The argument that open has only where it may create a file.
#define READ_MODE(mode, flags)                                      \
  mode_t mode = 0;                                                  \
  if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) { \
    va_list rest;                                                   \
    va_start(rest, flags);                                          \
    mode = va_arg(rest, mode_t);                                    \
    va_end(rest);                                                   \
  }

extern "C" {

int open(const char* path, int flags, ...) {
  NEXT(open);
  READ_MODE(mode, flags);
  const Moment moment(kOpen, writes(flags) && counts(AT_FDCWD, path));
  return next_open(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  NEXT(open64);
  READ_MODE(mode, flags);
  const Moment moment(kOpen, writes(flags) && counts(AT_FDCWD, path));
  return next_open64(path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  NEXT(openat);
  READ_MODE(mode, flags);
  const Moment moment(kOpen, writes(flags) && counts(folder, path));
  return next_openat(folder, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  NEXT(openat64);
  READ_MODE(mode, flags);
  const Moment moment(kOpen, writes(flags) && counts(folder, path));
  return next_openat64(folder, path, flags, mode);
}

int creat(const char* path, mode_t mode) {
  NEXT(creat);
  const Moment moment(kOpen, counts(AT_FDCWD, path));
  return next_creat(path, mode);
}

int mkstemp(char* pattern) {
  NEXT(mkstemp);
  const Moment moment(kOpen, counts(AT_FDCWD, pattern));
  return next_mkstemp(pattern);
}

int mkostemp(char* pattern, int flags) {
  NEXT(mkostemp);
  const Moment moment(kOpen, counts(AT_FDCWD, pattern));
  return next_mkostemp(pattern, flags);
}

FILE* fopen(const char* path, const char* mode) {
  NEXT(fopen);
  const Moment moment(kOpen, writes(mode) && counts(AT_FDCWD, path));
  return next_fopen(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  NEXT(fopen64);
  const Moment moment(kOpen, writes(mode) && counts(AT_FDCWD, path));
  return next_fopen64(path, mode);
}

ssize_t write(int fd, const void* data, size_t size) {
  NEXT(write);
  const Moment moment(kWrite, counts(fd));
  return next_write(fd, data, size);
}

ssize_t writev(int fd, const iovec* parts, int count) {
  NEXT(writev);
  const Moment moment(kWrite, counts(fd));
  return next_writev(fd, parts, count);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  const Moment moment(kWrite, counts(fd));
  return next_pwrite(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  NEXT(pwrite64);
  const Moment moment(kWrite, counts(fd));
  return next_pwrite64(fd, data, size, offset);
}

int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  const Moment moment(kTruncate, counts(fd));
  return next_ftruncate(fd, size);
}

int ftruncate64(int fd, off64_t size) noexcept {
  NEXT(ftruncate64);
  const Moment moment(kTruncate, counts(fd));
  return next_ftruncate64(fd, size);
}

int truncate(const char* path, off_t size) noexcept {
  NEXT(truncate);
  const Moment moment(kTruncate, counts(AT_FDCWD, path));
  return next_truncate(path, size);
}

int truncate64(const char* path, off64_t size) noexcept {
  NEXT(truncate64);
  const Moment moment(kTruncate, counts(AT_FDCWD, path));
  return next_truncate64(path, size);
}

int fsync(int fd) {
  NEXT(fsync);
  const Moment moment(kFsync, counts(fd));
  return next_fsync(fd);
}

int fdatasync(int fd) {
  NEXT(fdatasync);
  const Moment moment(kFsync, counts(fd));
  return next_fdatasync(fd);
}

int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  const Moment moment(kMkdir, counts(AT_FDCWD, path));
  return next_mkdir(path, mode);
}

int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  NEXT(mkdirat);
  const Moment moment(kMkdir, counts(folder, path));
  return next_mkdirat(folder, path, mode);
}

int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  const bool counted = counts(AT_FDCWD, to);
  const Moment moment(kRename, counted);
  const int result = next_rename(from, to);
  if (counted) log_rename(AT_FDCWD, from, AT_FDCWD, to, result);
  return result;
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  NEXT(renameat);
  const bool counted = counts(to_folder, to);
  const Moment moment(kRename, counted);
  const int result = next_renameat(from_folder, from, to_folder, to);
  if (counted) log_rename(from_folder, from, to_folder, to, result);
  return result;
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  NEXT(renameat2);
  const bool counted = counts(to_folder, to);
  const Moment moment(kRename, counted);
  const int result = next_renameat2(from_folder, from, to_folder, to, flags);
  if (counted) log_rename(from_folder, from, to_folder, to, result);
  return result;
}

int unlink(const char* path) noexcept {
  NEXT(unlink);
  const Moment moment(kUnlink, counts(AT_FDCWD, path));
  return next_unlink(path);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  const Moment moment(kUnlink, counts(folder, path));
  return next_unlinkat(folder, path, flags);
}

int rmdir(const char* path) noexcept {
  NEXT(rmdir);
  const Moment moment(kUnlink, counts(AT_FDCWD, path));
  return next_rmdir(path);
}

int remove(const char* path) noexcept {
  NEXT(remove);
  const Moment moment(kUnlink, counts(AT_FDCWD, path));
  return next_remove(path);
}

}  // extern "C"
