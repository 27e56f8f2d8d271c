// Tokens of a text of any size: written to a file once, as they come, and read from it in short stretches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

// An open file of tokens of 1, 2 or 4 bytes in this machine's byte order. Reading is thread-safe.
class TokenFile {
 public:
  // name: for messages. begin: the first token's offset.
  TokenFile(Descriptor file, std::string name, int token_bytes, std::uint64_t begin)
      : file_(std::move(file)), name_(std::move(name)), token_bytes_(token_bytes), begin_(begin) {}
  // Tokens [first, first + into.size()). Throws std::runtime_error that names the file if it has become
  // shorter or cannot be read.
  void read(std::uint64_t first, std::span<std::int64_t> into) const;

 private:
  Descriptor file_;
  std::string name_;
  int token_bytes_;
  std::uint64_t begin_;
};

// The narrowest of 1, 2 and 4 bytes that holds the tokens of a vocabulary.
int token_bytes_for(std::int64_t vocab_size);

// Tokens in a row that stand in one or more places of a file.
class TokenStream {
 public:
  TokenStream() = default;
  explicit TokenStream(std::shared_ptr<const TokenFile> file) : file_(std::move(file)) {}

  void append(std::uint64_t first_in_file, std::uint64_t count);
  void append(const TokenStream& other);  // of the same file
  std::uint64_t size() const { return size_; }
  // Tokens [first, first + into.size()) of the stream, which must be there.
  void read(std::uint64_t first, std::span<std::int64_t> into) const;

 private:
  struct Extent {
    std::uint64_t begin;  // in the stream
    std::uint64_t first;  // in the file
    std::uint64_t count;
  };

  std::shared_ptr<const TokenFile> file_;
  std::vector<Extent> extents_;
  std::uint64_t size_ = 0;
};

// What keeps a file from being written: a full disk, no permission.
struct CannotWrite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A new file that is written from start to end and then read.
class TokenWriter {
 public:
  explicit TokenWriter(Descriptor file) : file_(std::move(file)) {}
  // All throw CannotWrite.
  void write(const void* data, std::size_t n);
  void write_number(std::uint64_t number) { write(&number, sizeof number); }
  // Throws std::runtime_error for a token that does not fit into token_bytes.
  void write_tokens(std::span<const std::int32_t> tokens, int token_bytes);
  // What was written so far is in the file, and on the disk.
  void sync();
  std::uint64_t size() const { return size_; }
  std::string hash() const { return hash_.hex(); }  // of all that was written
  int descriptor() const { return file_.get(); }
  Descriptor release() { return std::move(file_); }

 private:
  void flush();

  Descriptor file_;
  std::string buffer_;
  std::uint64_t size_ = 0;
  RunningHash hash_;
};

// The file's first n bytes, from offset on. False if it ends before or cannot be read.
bool read_fully(int file, std::uint64_t offset, void* into, std::size_t n);

}  // namespace thinwire::trainer
