#include "trainer/format/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace thinwire::trainer {
namespace {

using nlohmann::json;

constexpr char kMetadataKey[] = "__metadata__";

struct Dtype {
  std::string_view name;
  std::uint64_t item_bytes;
};

// From narrow to wide, the order in which the format's own library ranks them.
constexpr std::array<Dtype, 15> kDtypes = {{{"BOOL", 1},
                                            {"U8", 1},
                                            {"I8", 1},
                                            {"F8_E5M2", 1},
                                            {"F8_E4M3", 1},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I32", 4},
                                            {"U32", 4},
                                            {"F32", 4},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8}}};

std::size_t rank_of(std::string_view dtype) {
  const auto found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& d) { return d.name == dtype; });
  return static_cast<std::size_t>(found - kDtypes.begin());
}

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw std::runtime_error(fmt::format(format, std::forward<Args>(args)...));
}

// nlohmann keeps the last of two equal keys; a file with two is refused instead.
json parse_without_duplicates(std::string_view text) {
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 8) refuse("the header is nested deeper than the format allows");
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(value.get<std::string>()).second) {
      refuse("the key '{}' stands twice in the header", value.get<std::string>());
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    refuse("the header is not JSON: {}", error.what());
  }
}

std::uint64_t parse_unsigned(const json& value, const std::string& name, const char* what) {
  const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > limit) {
    refuse("tensor '{}': expected whole numbers from 0 to 2^63-1 in {}, found {}", name, what,
           value.is_number() ? value.dump() : value.type_name());
  }
  return value.get<std::uint64_t>();
}

// Bytes of a tensor. Dimensions of 0 count as 1 for the overflow: LibTorch computes strides that way.
std::uint64_t tensor_bytes(const SafetensorsEntry& entry) {
  if (entry.shape.size() > kMaxSafetensorsDimensions) {
    refuse("tensor '{}': expected at most {} dimensions, found {}", entry.name, kMaxSafetensorsDimensions,
           entry.shape.size());
  }
  const std::uint64_t item_bytes = safetensors_item_bytes(entry.dtype);
  if (item_bytes == 0) refuse("tensor '{}': unknown dtype '{}'", entry.name, entry.dtype);
  const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = item_bytes;
  bool empty = false;
  for (const std::int64_t d : entry.shape) {
    const std::uint64_t factor = d == 0 ? 1 : static_cast<std::uint64_t>(d);
    if (bytes > limit / factor) refuse("tensor '{}': shape x dtype overflows 63 bits", entry.name);
    bytes *= factor;
    empty = empty || d == 0;
  }
  return empty ? 0 : bytes;
}

SafetensorsEntry parse_entry(const std::string& name, const json& value) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    refuse("tensor '{}': expected an object of dtype, shape and data_offsets, nothing else", name);
  }
  SafetensorsEntry entry;
  entry.name = name;
  if (!value["dtype"].is_string()) refuse("tensor '{}': expected a string as dtype", name);
  entry.dtype = value["dtype"].get<std::string>();
  if (!value["shape"].is_array()) refuse("tensor '{}': expected a list as shape", name);
  for (const json& d : value["shape"]) {
    entry.shape.push_back(static_cast<std::int64_t>(parse_unsigned(d, name, "shape")));
  }
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) refuse("tensor '{}': expected two data_offsets", name);
  entry.begin = parse_unsigned(offsets[0], name, "data_offsets");
  entry.end = parse_unsigned(offsets[1], name, "data_offsets");
  const std::uint64_t bytes = tensor_bytes(entry);
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    refuse("tensor '{}': expected {} bytes from its shape and dtype, found data_offsets [{}, {}]", name,
           bytes, entry.begin, entry.end);
  }
  return entry;
}

std::map<std::string, std::string> parse_metadata(const json& value) {
  if (!value.is_object()) refuse("expected an object as __metadata__");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      refuse("__metadata__: expected a string under '{}', found {}", key, text.type_name());
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// Sorts by place and checks that the data is covered once, from its first byte to its last.
void check_coverage(SafetensorsHeader& header) {
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t covered = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin < covered) {
      refuse("tensor '{}' begins at byte {} of the data and overlaps the one before, which ends at {}",
             entry.name, entry.begin, covered);
    }
    if (entry.begin > covered) {
      refuse("bytes {} to {} of the data, before tensor '{}', belong to no tensor", covered, entry.begin,
             entry.name);
    }
    covered = entry.end;
  }
  if (covered != header.data_bytes) {
    refuse("expected {} bytes of data, as the tensors take, found {}", covered, header.data_bytes);
  }
}

std::string dump(const json& value) {
  try {
    return value.dump();
  } catch (const json::exception&) {
    refuse("names of tensors and metadata must be UTF-8");
  }
}

}  // namespace

std::uint64_t safetensors_item_bytes(std::string_view dtype) {
  const std::size_t rank = rank_of(dtype);
  return rank < kDtypes.size() ? kDtypes[rank].item_bytes : 0;
}

std::map<std::string, TensorSpec> specs_of(const SafetensorsHeader& header) {
  std::map<std::string, TensorSpec> specs;
  for (const SafetensorsEntry& entry : header.entries) specs[entry.name] = {entry.dtype, entry.shape};
  return specs;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes) {
  if (text.empty() || text.front() != '{') refuse("expected '{{' as the header's first byte");
  const json root = parse_without_duplicates(text);
  SafetensorsHeader header;
  header.data_bytes = data_bytes;
  for (const auto& [name, value] : root.items()) {
    if (name == kMetadataKey) {
      header.metadata = parse_metadata(value);
    } else {
      header.entries.push_back(parse_entry(name, value));
    }
  }
  check_coverage(header);
  return header;
}

std::string layout_safetensors(SafetensorsHeader& header) {
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    const std::size_t rank_a = rank_of(a.dtype), rank_b = rank_of(b.dtype);
    return rank_a != rank_b ? rank_a > rank_b : a.name < b.name;
  });
  std::vector<std::string> members;
  if (!header.metadata.empty()) members.push_back(dump(kMetadataKey) + ":" + dump(header.metadata));
  std::set<std::string_view> names;
  header.data_bytes = 0;
  for (SafetensorsEntry& entry : header.entries) {
    if (entry.name == kMetadataKey) refuse("no tensor may be named '{}'", kMetadataKey);
    if (!names.insert(entry.name).second) refuse("two tensors are named '{}'", entry.name);
    entry.begin = header.data_bytes;
    entry.end = header.data_bytes += tensor_bytes(entry);
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                                  dump(entry.name), entry.dtype, dump(entry.shape), entry.begin, entry.end));
  }
  std::string text = fmt::format("{{{}}}", fmt::join(members, ","));
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxSafetensorsHeaderBytes) {
    refuse("expected a header of at most {} bytes, found {}", kMaxSafetensorsHeaderBytes, text.size());
  }
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(text.size() >> shift & 0xff));
  return bytes + text;
}

}  // namespace thinwire::trainer
