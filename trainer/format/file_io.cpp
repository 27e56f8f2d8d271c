#include "trainer/format/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <vector>

namespace thinwire::trainer {
namespace {

[[noreturn]] void fail(const char* operation, const std::string& path) {
  throw std::system_error(errno, std::generic_category(), std::string(operation) + " " + path);
}

int open_or_fail(const char* operation, const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) fail(operation, path);
  return fd;
}

int open_new(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("replace", path);
  return open_or_fail("create", path, O_WRONLY | O_CREAT | O_EXCL);
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "folder";
  if (S_ISFIFO(mode)) return "named pipe";
  if (S_ISSOCK(mode)) return "socket";
  return "device";
}

[[noreturn]] void refuse_kind(const std::string& path, mode_t mode) {
  throw std::runtime_error(fmt::format("{}: not a plain file but a {}", path, kind_of(mode)));
}

struct stat stat_or_fail(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail("stat", path);
  return info;
}

int open_plain(const std::string& path, int flags) {
  require_plain_file(path);
  return open_or_fail("open", path, flags | O_NONBLOCK);
}

// The size of an open file. It may be another one than the one that was looked at before.
std::uint64_t size_of_plain(int fd, const std::string& path) {
  const struct stat info = stat_or_fail(fd, path);
  if (!S_ISREG(info.st_mode)) refuse_kind(path, info.st_mode);
  return static_cast<std::uint64_t>(info.st_size);
}

// Returns how many bytes were written before an error, which is then in errno.
std::size_t write_fully(int fd, const char* data, std::size_t n) {
  std::size_t done = 0;
  while (done < n) {
    const ssize_t written = ::write(fd, data + done, n - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    done += static_cast<std::size_t>(written);
  }
  return done;
}

std::string to_hex(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

bool is_disk_full(const std::error_code& error) {
  const bool is_errno =
      error.category() == std::generic_category() || error.category() == std::system_category();
  return is_errno && (error.value() == ENOSPC || error.value() == EDQUOT || error.value() == EFBIG);
}

RunningHash::RunningHash() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void RunningHash::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

void RunningHash::add(const void* data, std::size_t n) {
  XXH3_128bits_update(state_.get(), data, n);
}

std::string RunningHash::hex() const {
  return to_hex(XXH3_128bits_digest(state_.get()));
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void require_plain_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) refuse_kind(path, info.st_mode);
}

InputFile::InputFile(const std::string& path)
    : path_(path), fd_(open_plain(path, O_RDONLY)), size_(size_of_plain(fd_.get(), path)) {}

void InputFile::read_at(std::uint64_t offset, void* into, std::size_t n) const {
  std::size_t done = 0;
  while (done < n) {
    const ssize_t got =
        ::pread(fd_.get(), static_cast<char*>(into) + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path_);
    if (got == 0) {
      throw std::runtime_error(fmt::format(
          "{}: expected {} bytes at offset {}, the file ends after {} of them", path_, n, offset, done));
    }
    done += static_cast<std::size_t>(got);
  }
}

OutputFile::OutputFile(const std::string& path) : path_(path), fd_(open_new(path)) {}

OutputFile OutputFile::standard_output() {
  const int fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) fail("open", "standard output");
  return {"standard output", Descriptor(fd)};
}

void OutputFile::write(const void* data, std::size_t n) {
  if (write_fully(fd_.get(), static_cast<const char*>(data), n) != n) fail("write", path_);
  hash_.add(data, n);
  size_ += n;
}

void OutputFile::sync() {
  if (::fsync(fd_.get()) != 0 && errno != EINVAL && errno != ENOTSUP) fail("sync", path_);
}

FileDigest OutputFile::digest() const {
  return {size_, hash_.hex()};
}

AppendFile::AppendFile(const std::string& path)
    : fd_(open_plain(path, O_WRONLY | O_CREAT | O_APPEND)), size_(size_of_plain(fd_.get(), path)) {}

bool AppendFile::append(std::string_view record) {
  if (write_fully(fd_.get(), record.data(), record.size()) == record.size()) {
    size_ += record.size();
    return true;
  }
  // Shrinking needs no room; should even that fail, readers drop the torn record.
  [[maybe_unused]] const int failed = ::ftruncate(fd_.get(), static_cast<off_t>(size_));
  return false;
}

bool AppendFile::sync() {
  return ::fsync(fd_.get()) == 0;
}

void sync_directory(const std::string& path) {
  const Descriptor folder(open_or_fail("open", path, O_RDONLY | O_DIRECTORY));
  if (::fsync(folder.get()) != 0) fail("sync", path);
}

std::string read_whole_file(const std::string& path, std::uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes) {
    throw std::runtime_error(
        fmt::format("{}: expected at most {} bytes, found {}", path, max_bytes, file.size()));
  }
  std::string bytes(file.size(), '\0');
  file.read_at(0, bytes.data(), bytes.size());
  return bytes;
}

FileDigest digest_file(const std::string& path) {
  const InputFile file(path);
  std::vector<char> buffer(std::min<std::uint64_t>(file.size(), 1 << 20));
  RunningHash hash;
  for (std::uint64_t at = 0; at < file.size();) {
    const std::size_t n = std::min<std::uint64_t>(buffer.size(), file.size() - at);
    file.read_at(at, buffer.data(), n);
    hash.add(buffer.data(), n);
    at += n;
  }
  return {file.size(), hash.hex()};
}

std::string xxh3_128_hex(std::string_view bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

}  // namespace thinwire::trainer
