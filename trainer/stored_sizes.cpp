#include "trainer/stored_sizes.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "trainer/format/manifest.h"
#include "trainer/format/safetensors.h"
#include "trainer/options_json.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;

constexpr char kManifestFile[] = "manifest.json";
constexpr std::uint64_t kMaxManifestBytes = 64 << 20;

// Of a run, a step or a worker's folder, newest first.
std::vector<fs::path> manifests_under(const fs::path& folder) {
  std::vector<fs::path> found;
  const auto written_later = [](const fs::path& a, const fs::path& b) {
    return fs::last_write_time(a) > fs::last_write_time(b);
  };
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().filename() == kManifestFile && entry.is_regular_file()) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end(), written_later);
  return found;
}

nlohmann::json description_at(const std::string& path) {
  if (fs::is_regular_file(path)) {
    return nlohmann::json::parse(read_safetensors_header(path).metadata.at("thinwire"));
  }
  const fs::path checkpoints = fs::path(path) / "checkpoints";
  const std::vector<fs::path> manifests =
      manifests_under(fs::exists(checkpoints) ? checkpoints : fs::path(path));
  return parse_manifest(read_whole_file(manifests.at(0), kMaxManifestBytes)).meta;
}

}  // namespace

std::optional<ModelOptions> stored_sizes(const std::string& path) {
  try {
    return described_options(description_at(path)).model;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace thinwire::trainer
