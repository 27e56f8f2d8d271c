#include "trainer/format/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "trainer/format/crc32c.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::size_t kFlushBytes = 64 << 10;

// Protobuf's wire format, as far as an Event needs it: a key is field * 8 + wire type.
void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

template <typename T>
void put_little_endian(std::string& out, T value) {
  std::array<char, sizeof value> bytes;
  std::memcpy(bytes.data(), &value, sizeof value);
  out.append(bytes.data(), bytes.size());
}

void put_integer(std::string& out, int field, std::int64_t value) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 0);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_double(std::string& out, int field, double value) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 1);
  put_little_endian(out, value);
}

void put_bytes(std::string& out, int field, std::string_view value) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 2);
  put_varint(out, value.size());
  out.append(value);
}

void put_float(std::string& out, int field, float value) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | 5);
  put_little_endian(out, value);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// tensorflow.Event: wall_time = 1, step = 2, and one of file_version = 3, summary = 5, session_log = 7.
std::string record_of(std::int64_t step, int field, std::string_view content) {
  std::string event;
  put_double(event, 1, wall_seconds());
  put_integer(event, 2, step);
  put_bytes(event, field, content);

  std::string record;
  put_little_endian(record, static_cast<std::uint64_t>(event.size()));
  put_little_endian(record, masked_crc32c(record));
  record += event;
  put_little_endian(record, masked_crc32c(event));
  return record;
}

// Now in seconds, or later where an event file of that time is there already.
std::int64_t next_time(const std::string& dir) {
  auto time = static_cast<std::int64_t>(wall_seconds());
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename();
    std::int64_t other = 0;
    if (name.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), other);
    time = std::max(time, other + 1);
  }
  return time;
}

std::string new_file(const std::string& dir) {
  fs::create_directories(dir);
  std::array<char, 128> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fs::path(dir) / fmt::format("{}{:010}.{}.{}", kPrefix, next_time(dir), host.data(), ::getpid());
}

}  // namespace

TensorboardWriter::TensorboardWriter(const std::string& dir)
    : file_(new_file(dir)), pending_(record_of(0, 3, "brain.Event:2")) {
  flush();
}

TensorboardWriter::~TensorboardWriter() {
  flush();
}

void TensorboardWriter::scalar(const std::string& tag, double value, std::int64_t step) {
  if (!started_) {
    // SessionLog: status = 1 of START = 1. TensorBoard then forgets what older files say of this step and
    // later.
    std::string session_start;
    put_integer(session_start, 1, 1);
    pending_ += record_of(step, 7, session_start);
    started_ = true;
  }
  std::string scalar_value;  // Summary.Value: tag = 1, simple_value = 2
  put_bytes(scalar_value, 1, tag);
  put_float(scalar_value, 2, static_cast<float>(value));
  std::string summary;  // Summary: repeated value = 1
  put_bytes(summary, 1, scalar_value);
  pending_ += record_of(step, 5, summary);
  if (pending_.size() >= kFlushBytes) flush();
}

void TensorboardWriter::flush() {
  if (!file_.append(pending_)) ok_ = false;
  pending_.clear();
}

}  // namespace thinwire::trainer
