#include "trainer/format/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <vector>

#include "quant/codec/wire_header.h"
#include "trainer/checkpoint.h"
#include "trainer/format/file_io.h"
#include "trainer/format/manifest.h"
#include "trainer/format/safetensors.h"
#include "trainer/run_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxTextBytes = 64 << 20;       // of a config, summary or manifest
constexpr std::uint64_t kMaxMessageBytes = 4ull << 30;  // of a wire message
constexpr char kMagic[] = "TWPL";                       // docs/wire_format.md

json tensors_of(const SafetensorsHeader& header) {
  json tensors = json::array();
  for (const SafetensorsEntry& entry : header.entries) {
    tensors.push_back({{"name", entry.name},
                       {"dtype", entry.dtype},
                       {"shape", entry.shape},
                       {"bytes", entry.end - entry.begin}});
  }
  return tensors;
}

std::uint64_t values_of(const SafetensorsHeader& header) {
  std::uint64_t values = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    values += (entry.end - entry.begin) / safetensors_item_bytes(entry.dtype);
  }
  return values;
}

json describe_safetensors(const std::string& path) {
  const SafetensorsHeader header = read_safetensors_header(path);
  return {{"kind", "safetensors"},
          {"bytes", fs::file_size(path)},
          {"values", values_of(header)},
          {"metadata", header.metadata},
          {"tensors", tensors_of(header)}};
}

std::string codec_name(std::uint8_t wire_id) {
  for (const std::string& name : quant::codec_names()) {
    if (quant::make_codec({.name = name})->wire_id() == wire_id) return name;
  }
  return fmt::format("unknown ({})", wire_id);
}

json describe_message(const std::string& path) {
  const std::string bytes = read_whole_file(path, kMaxMessageBytes);
  const quant::WireInfo info = quant::inspect_message(std::as_bytes(std::span(bytes)));
  return {{"kind", "wire message"},
          {"step", info.step},
          {"fragment", info.fragment},
          {"worker", info.worker},
          {"leg", info.leg},
          {"codec", codec_name(info.codec)},
          {"block", info.block},
          {"rounding", info.rounding == quant::Rounding::kNearest ? "nearest" : "stochastic"},
          {"rotated", info.rotated},
          {"k", info.k},
          {"values", info.num_values},
          {"payload_bytes", info.payload_bytes},
          {"state_digest", fmt::format("{:016x}", info.state_digest)}};
}

json describe_checkpoint(const fs::path& folder) {
  const Manifest manifest = parse_manifest(read_whole_file(folder / "manifest.json", kMaxTextBytes));
  json result = {{"kind", "checkpoint"},    {"step", manifest.step}, {"worker", manifest.worker},
                 {"whole", true},           {"meta", manifest.meta}, {"files", json::object()},
                 {"tensors", json::array()}};
  for (const auto& [name, expected] : manifest.files) {
    result["files"][name] = {{"bytes", expected.bytes}, {"xxh3_128", expected.xxh3_128}};
    if (digest_file(folder / name) != expected) {
      result["whole"] = false;
      continue;
    }
    const SafetensorsHeader header = read_safetensors_header(folder / name);
    require_tensors(manifest, header);
    for (json& tensor : tensors_of(header)) {
      result["tensors"].push_back(std::move(tensor));
    }
  }
  return result;
}

// Folders with a manifest below this one, in the order of their names' lengths and letters: worker-2,
// worker-10.
std::vector<fs::path> checkpoints_below(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".tmp" && fs::exists(entry.path() / "manifest.json")) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    const std::string &name_a = a.native(), &name_b = b.native();
    return name_a.size() != name_b.size() ? name_a.size() < name_b.size() : name_a < name_b;
  });
  return found;
}

json describe_step(const std::vector<fs::path>& folders) {
  json workers = json::array();
  for (const fs::path& folder : folders) {
    json checkpoint = describe_checkpoint(folder);
    checkpoint.erase("tensors");
    workers.push_back(std::move(checkpoint));
  }
  const json step = workers.front()["step"];
  return {{"kind", "step"}, {"step", step}, {"workers", std::move(workers)}};
}

// The step of the last whole line of a log.
json last_step(const fs::path& log) {
  if (!fs::exists(log)) return nullptr;
  const InputFile file(log);
  std::string tail(std::min<std::uint64_t>(file.size(), 1 << 20), '\0');
  file.read_at(file.size() - tail.size(), tail.data(), tail.size());
  json step;
  std::size_t begin = 0;
  for (std::size_t end; (end = tail.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const json record =
        json::parse(tail.begin() + begin, tail.begin() + end, nullptr, /*allow_exceptions=*/false);
    if (record.is_object() && record.contains("step")) step = record["step"];
  }
  return step;
}

json describe_run(const std::string& dir) {
  const fs::path folder = dir;
  json result = {{"kind", "run"}, {"config", nullptr}, {"summary", nullptr}, {"checkpoints", json::array()}};
  if (fs::exists(folder / "config.toml")) {
    result["config"] = read_whole_file(folder / "config.toml", kMaxTextBytes);
  }
  if (fs::exists(folder / "summary.json")) {
    result["summary"] = json::parse(read_whole_file(folder / "summary.json", kMaxTextBytes), nullptr,
                                    /*allow_exceptions=*/false);
    if (result["summary"].is_discarded()) throw std::runtime_error(dir + "/summary.json: expected JSON");
  }
  result["last_step"] = last_step(folder / "metrics.jsonl");
  for (const CheckpointCheck& check : verify_checkpoints(dir)) {
    json problems = json::array();
    for (const CheckpointProblem& problem : check.problems) {
      problems.push_back({{"file", problem.file}, {"what", problem.what}});
    }
    result["checkpoints"].push_back(
        {{"step", check.step}, {"worker", check.worker}, {"whole", check.whole}, {"problems", problems}});
  }
  return result;
}

json describe_folder(const std::string& path) {
  if (fs::exists(fs::path(path) / "manifest.json")) return describe_checkpoint(path);
  if (holds_run(path)) return describe_run(path);
  if (const std::vector<fs::path> workers = checkpoints_below(path); !workers.empty())
    return describe_step(workers);
  throw std::runtime_error(path + ": expected a run, a step or a checkpoint in this folder, found none");
}

json describe_file(const std::string& path) {
  const InputFile file(path);
  std::string magic(std::min<std::uint64_t>(file.size(), sizeof kMagic - 1), '\0');
  file.read_at(0, magic.data(), magic.size());
  return magic == kMagic ? describe_message(path) : describe_safetensors(path);
}

}  // namespace

json describe(const std::string& path) {
  try {
    json result = fs::is_directory(path) ? describe_folder(path) : describe_file(path);
    result["path"] = path;
    return result;
  } catch (const fs::filesystem_error& error) {
    throw std::runtime_error(fmt::format("{}: {}", path, error.code().message()));
  }
}

}  // namespace thinwire::trainer
