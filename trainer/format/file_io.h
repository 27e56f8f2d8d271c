// Files as the checkpoints and logs need them: short writes are errors, foreign files must be regular and of
// a bounded size, and what is written can be hashed on the way and made durable.
//
// Every function throws std::system_error "<operation> <path>: <reason>" with the errno of what failed, and
// std::runtime_error where the file itself is not what was expected. One thread at a time per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

struct XXH3_state_s;  // xxhash.h

namespace thinwire::trainer {

// True for errors that mean "no room left": ENOSPC, EDQUOT, and EFBIG (a limit on the size of files).
bool is_disk_full(const std::error_code& error);

struct FileDigest {
  std::uint64_t bytes = 0;
  std::string xxh3_128;  // 32 hex digits, most significant first
  bool operator==(const FileDigest&) const = default;
};

// XXH3-128 of bytes that come in pieces.
class RunningHash {
 public:
  RunningHash();
  void add(const void* data, std::size_t n);
  std::string hex() const;  // 32 digits, most significant first

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

// An open descriptor; closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Throws std::runtime_error if what stands at `path`, links followed, is no plain file. Nothing there, or
// what may not be looked at, is left to who opens it. Opens nothing, so it waits for nobody and wakes no
// device.
void require_plain_file(const std::string& path);

// A plain file of any origin. Opening never blocks: pipes, devices and folders are refused.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // when it was opened
  // Exactly n bytes; a file that has become shorter is an error.
  void read_at(std::uint64_t offset, void* into, std::size_t n) const;

 private:
  std::string path_;
  Descriptor fd_;
  std::uint64_t size_ = 0;
};

// A new file. An entry that is there already, a link included, is removed first and never written through.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  // Standard output of this process, from where it stands.
  static OutputFile standard_output();
  void write(const void* data, std::size_t n);
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  // Makes the bytes durable; what cannot keep any, a pipe, has nothing to do.
  void sync();
  // Of all bytes written so far, as they were meant: a disk that changes them is found out by reading.
  FileDigest digest() const;

 private:
  OutputFile(std::string path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  Descriptor fd_;
  std::uint64_t size_ = 0;
  RunningHash hash_;
};

// A log: records are appended whole or not at all.
class AppendFile {
 public:
  // Creates the file where there is none.
  explicit AppendFile(const std::string& path);
  // False if the record could not be written (a full disk, ...); a part of it is taken back.
  [[nodiscard]] bool append(std::string_view record);
  // Makes what was appended durable; false if that failed.
  [[nodiscard]] bool sync();

 private:
  Descriptor fd_;
  std::uint64_t size_ = 0;
};

// Makes the names in a folder durable.
void sync_directory(const std::string& path);

std::string read_whole_file(const std::string& path, std::uint64_t max_bytes);
FileDigest digest_file(const std::string& path);
std::string xxh3_128_hex(std::string_view bytes);

}  // namespace thinwire::trainer
