#include "trainer/data/token_store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace thinwire::trainer {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr std::size_t kReadTokens = 4096;

// The errors of this thread's last system call.
[[noreturn]] void cannot_write() {
  throw CannotWrite(std::strerror(errno));
}

template <typename Narrow>
void widen(const char* bytes, std::span<std::int64_t> into) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    Narrow token;
    std::memcpy(&token, bytes + i * sizeof token, sizeof token);
    into[i] = token;
  }
}

template <typename Narrow>
void append_narrow(std::span<const std::int32_t> tokens, std::string& out) {
  for (const std::int32_t token : tokens) {
    const auto narrow = static_cast<Narrow>(token);
    if (token < 0 || static_cast<std::int64_t>(narrow) != token) {
      throw std::runtime_error("the tokenizer gave the token " + std::to_string(token) +
                               ", which its own vocabulary has not; expected another tokenizer");
    }
    out.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
  }
}

}  // namespace

bool read_fully(int file, std::uint64_t offset, void* into, std::size_t n) {
  for (std::size_t done = 0; done < n;) {
    const ssize_t got =
        ::pread(file, static_cast<char*>(into) + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

int token_bytes_for(std::int64_t vocab_size) {
  return vocab_size <= 1 << 8 ? 1 : vocab_size <= 1 << 16 ? 2 : 4;
}

void TokenFile::read(std::uint64_t first, std::span<std::int64_t> into) const {
  std::array<char, kReadTokens * 4> bytes;
  while (!into.empty()) {
    const std::size_t count = std::min(into.size(), kReadTokens);
    const std::size_t wanted = count * static_cast<std::size_t>(token_bytes_);
    const std::uint64_t offset = begin_ + first * static_cast<std::uint64_t>(token_bytes_);
    if (!read_fully(file_.get(), offset, bytes.data(), wanted)) {
      throw std::runtime_error(
          "[data] the tokens in " + name_ +
          " cannot be read: the file was cut or the disk fails; the next start makes it anew");
    }
    if (token_bytes_ == 1) widen<std::uint8_t>(bytes.data(), into.first(count));
    if (token_bytes_ == 2) widen<std::uint16_t>(bytes.data(), into.first(count));
    if (token_bytes_ == 4) widen<std::int32_t>(bytes.data(), into.first(count));
    first += count;
    into = into.subspan(count);
  }
}

void TokenStream::append(std::uint64_t first_in_file, std::uint64_t count) {
  if (count == 0) return;
  if (!extents_.empty() && extents_.back().first + extents_.back().count == first_in_file) {
    extents_.back().count += count;
  } else {
    extents_.push_back({size_, first_in_file, count});
  }
  size_ += count;
}

void TokenStream::append(const TokenStream& other) {
  if (file_ == nullptr) file_ = other.file_;
  for (const Extent& extent : other.extents_) append(extent.first, extent.count);
}

void TokenStream::read(std::uint64_t first, std::span<std::int64_t> into) const {
  if (into.empty()) return;
  auto next = std::upper_bound(extents_.begin(), extents_.end(), first,
                               [](std::uint64_t at, const Extent& extent) { return at < extent.begin; });
  for (auto extent = std::prev(next); !into.empty(); ++extent) {
    if (extent == extents_.end()) throw std::out_of_range("tokens past a stream's end");
    const std::uint64_t skipped = first - extent->begin;
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), extent->count - skipped));
    file_->read(extent->first + skipped, into.first(count));
    first += count;
    into = into.subspan(count);
  }
}

void TokenWriter::write(const void* data, std::size_t n) {
  buffer_.append(static_cast<const char*>(data), n);
  size_ += n;
  if (buffer_.size() >= kBufferBytes) flush();
}

void TokenWriter::write_tokens(std::span<const std::int32_t> tokens, int token_bytes) {
  const std::size_t before = buffer_.size();
  if (token_bytes == 1) append_narrow<std::uint8_t>(tokens, buffer_);
  if (token_bytes == 2) append_narrow<std::uint16_t>(tokens, buffer_);
  if (token_bytes == 4) append_narrow<std::int32_t>(tokens, buffer_);
  size_ += buffer_.size() - before;
  if (buffer_.size() >= kBufferBytes) flush();
}

void TokenWriter::flush() {
  hash_.add(buffer_.data(), buffer_.size());
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(file_.get(), buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) cannot_write();
    done += static_cast<std::size_t>(written);
  }
  buffer_.clear();
}

void TokenWriter::sync() {
  flush();
  // What the disk refuses later would be read back as something else. EINVAL: nothing to sync (memory).
  if (::fdatasync(file_.get()) != 0 && errno != EINVAL) cannot_write();
}

}  // namespace thinwire::trainer
