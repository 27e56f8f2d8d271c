#include "trainer/format/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "trainer/format/crc32c.h"
#include "trainer/run_folder.h"

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

// Takes numbers and bytes off the front; `ok` turns false where there are too few.
struct Reader {
  std::string_view bytes;
  bool ok = true;

  std::string_view take(std::uint64_t count) {
    ok = ok && count <= bytes.size();
    if (!ok) return {};
    const std::string_view taken = bytes.substr(0, count);
    bytes.remove_prefix(count);
    return taken;
  }
  template <typename T>
  T number() {
    T value{};
    if (const std::string_view taken = take(sizeof value); ok)
      std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = number<std::uint8_t>();
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok = false;
    return 0;
  }
};

// Of a Protobuf message: a number, or bytes.
struct Field {
  std::uint64_t id = 0;
  std::uint64_t number = 0;
  std::string_view bytes;
};

// Nothing for bytes that are no message.
std::optional<std::vector<Field>> fields_of(std::string_view message) {
  std::vector<Field> fields;
  for (Reader reader{message}; !reader.bytes.empty();) {
    const std::uint64_t key = reader.varint();
    Field field{.id = key >> 3, .number = 0, .bytes = {}};
    switch (key & 7) {
      case 0:
        field.number = reader.varint();
        break;
      case 1:
        reader.take(8);
        break;
      case 2:
        field.bytes = reader.take(reader.varint());
        break;
      case 5:
        reader.take(4);
        break;
      default:
        return {};
    }
    if (!reader.ok) return {};
    fields.push_back(field);
  }
  return fields;
}

Field find_field(std::string_view message, std::uint64_t id) {
  for (const Field& field : fields_of(message).value_or(std::vector<Field>()))
    if (field.id == id) return field;
  return {};
}

struct Point {
  std::int64_t step = 0;  // 0 where the event does not say
  std::string tag;        // empty for what is no scalar
};

// Nothing for bytes that are no Event.
std::optional<Point> point_of(std::string_view event) {
  if (!fields_of(event)) return {};
  const std::string_view value = find_field(find_field(event, 5).bytes, 1).bytes;
  return Point{static_cast<std::int64_t>(find_field(event, 2).number),
               std::string(find_field(value, 1).bytes)};
}

// The whole records of steps up to keep_through, and adds the tags of that step. After a damaged length
// nothing more can be found.
std::string kept_records(std::string_view bytes, std::int64_t keep_through, std::set<std::string>& tags) {
  std::string kept;
  for (Reader reader{bytes}; !reader.bytes.empty();) {
    const std::string_view begin = reader.bytes;
    const std::string_view length = reader.take(sizeof(std::uint64_t));
    if (reader.number<std::uint32_t>() != masked_crc32c(length) || !reader.ok) break;
    std::uint64_t size = 0;
    std::memcpy(&size, length.data(), sizeof size);
    const std::string_view event = reader.take(size);
    const bool good = reader.number<std::uint32_t>() == masked_crc32c(event);
    if (!reader.ok) break;
    const auto point = good ? point_of(event) : std::nullopt;
    if (!point || point->step > keep_through) continue;
    kept += begin.substr(0, begin.size() - reader.bytes.size());
    if (point->step == keep_through) tags.insert(point->tag);
  }
  return kept;
}

void cut_event_file(const std::string& path, std::int64_t keep_through, std::set<std::string>& tags) {
  const std::string bytes = read_whole_file(path, std::numeric_limits<std::int64_t>::max());
  const std::string kept = kept_records(bytes, keep_through, tags);
  if (kept.size() == bytes.size()) return;
  if (bytes.starts_with(kept)) {
    fs::resize_file(path, kept.size());
  } else {
    write_file_atomically(path, kept);
  }
}

std::string new_file(const std::string& dir) {
  fs::create_directories(dir);
  std::array<char, 128> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fs::path(dir) / fmt::format("{}{:010}.{}.{}", kPrefix, next_time(dir), host.data(), ::getpid());
}

}  // namespace

TensorboardWriter::TensorboardWriter(const std::string& dir, std::int64_t first_step)
    : file_(new_file(dir)), pending_(record_of(0, 3, "brain.Event:2")) {
  std::string session_start;  // SessionLog: status = 1 of START = 1
  put_integer(session_start, 1, 1);
  pending_ += record_of(first_step, 7, session_start);
  flush();
}

TensorboardWriter::~TensorboardWriter() {
  flush();
}

void TensorboardWriter::scalar(const std::string& tag, double value, std::int64_t step) {
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

std::set<std::string> cut_event_files(const std::string& dir, std::int64_t keep_through) {
  std::set<std::string> tags;
  if (!fs::exists(dir)) return tags;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) {
    const bool is_ours = entry.path().filename().string().starts_with(kPrefix);
    if (is_ours && entry.is_regular_file()) cut_event_file(entry.path(), keep_through, tags);
  }
  return tags;
}

}  // namespace thinwire::trainer
