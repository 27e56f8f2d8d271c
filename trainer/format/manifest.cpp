#include "trainer/format/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace thinwire::trainer {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "thinwire-checkpoint";
constexpr int kVersion = 2;
constexpr char kSelfHash[] = "manifest_xxh3_128";

// Stands for a number that JSON cannot write: {"$number": "nan"}, "inf" or "-inf".
constexpr char kNumberKey[] = "$number";

json with_named_numbers(const json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const double number = value.get<double>();
    return {{kNumberKey, std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf"}};
  }
  json copy = value;
  if (value.is_structured()) {
    for (json& child : copy) child = with_named_numbers(child);
  }
  return copy;
}

json without_named_numbers(const json& value) {
  if (value.is_object() && value.size() == 1 && value.contains(kNumberKey)) {
    const double infinity = std::numeric_limits<double>::infinity();
    if (value[kNumberKey] == "nan") return std::numeric_limits<double>::quiet_NaN();
    if (value[kNumberKey] == "inf") return infinity;
    if (value[kNumberKey] == "-inf") return -infinity;
  }
  json copy = value;
  if (value.is_structured()) {
    for (json& child : copy) child = without_named_numbers(child);
  }
  return copy;
}

std::string dump(const json& value) {
  try {
    return value.dump(1) + "\n";
  } catch (const json::exception& error) {
    throw std::runtime_error(fmt::format("the manifest cannot be written as JSON: {}", error.what()));
  }
}

TensorSpec spec_from_json(const std::string& name, const json& value) {
  TensorSpec spec{value.at("dtype").get<std::string>(), {}};
  if (safetensors_item_bytes(spec.dtype) == 0)
    throw std::runtime_error(fmt::format("tensor '{}': unknown dtype '{}'", name, spec.dtype));
  if (!value.at("shape").is_array())
    throw std::runtime_error(fmt::format("tensor '{}': expected a list as shape", name));
  for (const json& d : value.at("shape")) {
    if (!d.is_number_unsigned())
      throw std::runtime_error(
          fmt::format("tensor '{}': expected whole numbers from 0 as shape, found {}", name, d.dump()));
    spec.shape.push_back(d.get<std::int64_t>());
  }
  return spec;
}

std::string text_of(const TensorSpec& spec) {
  return fmt::format("{} [{}]", spec.dtype, fmt::join(spec.shape, ", "));
}

Manifest from_json(const json& root) {
  if (root.at("format") != kFormat || root.at("version") != kVersion) {
    throw std::runtime_error(fmt::format("expected format {} version {}, found {} version {}", kFormat,
                                         kVersion, root.at("format").dump(), root.at("version").dump()));
  }
  Manifest manifest;
  manifest.step = root.at("step").get<std::int64_t>();
  manifest.worker = root.at("worker").get<int>();
  if (!root.at("files").is_object()) throw std::runtime_error("expected an object as files");
  for (const auto& [name, file] : root.at("files").items()) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      throw std::runtime_error(fmt::format("expected plain names of files, found '{}'", name));
    }
    manifest.files[name] = {file.at("bytes").get<std::uint64_t>(), file.at("xxh3_128").get<std::string>()};
  }
  if (!root.at("tensors").is_object()) throw std::runtime_error("expected an object as tensors");
  for (const auto& [name, value] : root.at("tensors").items())
    manifest.tensors[name] = spec_from_json(name, value);
  manifest.meta = without_named_numbers(root.at("meta"));
  return manifest;
}

}  // namespace

std::string to_text(const Manifest& manifest) {
  json files = json::object();
  for (const auto& [name, digest] : manifest.files) {
    files[name] = {{"bytes", digest.bytes}, {"xxh3_128", digest.xxh3_128}};
  }
  json tensors = json::object();
  for (const auto& [name, spec] : manifest.tensors) {
    tensors[name] = {{"dtype", spec.dtype}, {"shape", spec.shape}};
  }
  json root = {{"format", kFormat},     {"version", kVersion},
               {"step", manifest.step}, {"worker", manifest.worker},
               {"files", files},        {"meta", with_named_numbers(manifest.meta)},
               {"tensors", tensors}};
  root[kSelfHash] = xxh3_128_hex(dump(root));
  return dump(root);
}

Manifest parse_manifest(const std::string& text) {
  try {
    json root = json::parse(text);
    const std::string expected = root.at(kSelfHash).get<std::string>();
    if (dump(root) != text) throw std::runtime_error("the text is not as it was written");
    root.erase(kSelfHash);
    const std::string found = xxh3_128_hex(dump(root));
    if (expected != found) {
      throw std::runtime_error(fmt::format("expected XXH3-128 {} of itself, found {}", expected, found));
    }
    return from_json(root);
  } catch (const json::exception& error) {
    throw std::runtime_error(fmt::format("not a checkpoint's manifest: {}", error.what()));
  }
}

void require_tensors(const Manifest& manifest, const SafetensorsHeader& header) {
  const std::map<std::string, TensorSpec> found = specs_of(header);
  for (const auto& [name, expected] : manifest.tensors) {
    const auto it = found.find(name);
    if (it != found.end() && it->second == expected) continue;
    throw std::runtime_error(fmt::format("tensor '{}': expected {}, as the manifest says, found {}", name,
                                         text_of(expected),
                                         it == found.end() ? "no such tensor" : text_of(it->second)));
  }
  for (const auto& [name, spec] : found) {
    if (!manifest.tensors.contains(name))
      throw std::runtime_error(
          fmt::format("tensor '{}': found {}, the manifest names no such tensor", name, text_of(spec)));
  }
}

}  // namespace thinwire::trainer
