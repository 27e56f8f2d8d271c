#include "launch/launch_record.h"

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "trainer/format/file_io.h"
#include "trainer/format/manifest.h"
#include "trainer/run_folder.h"

namespace thinwire::launch {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 28;

int workers_of_manifest(const std::string& path) {
  try {
    const trainer::Manifest manifest =
        trainer::parse_manifest(trainer::read_whole_file(path, kMaxManifestBytes));
    return manifest.meta.value("workers", 0);
  } catch (const std::exception&) {
    return 0;  // a damaged checkpoint; another one may say it
  }
}

// Folders of `parent` named PREFIXnumber, the highest number first.
std::map<std::int64_t, fs::path, std::greater<>> numbered(const fs::path& parent, const std::string& prefix) {
  std::map<std::int64_t, fs::path, std::greater<>> found;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    if (const auto number = trainer::number_after(prefix, entry->path().filename().string()))
      found[*number] = entry->path();
  }
  return found;
}

}  // namespace

std::string launch_record_text(const Job& job, int workers) {
  const trainer::CommOptions& comm = job.options.comm;
  return json{{"workers", workers}, {"hosts", job.hosts}, {"backend", comm.backend}, {"link", comm.link}}
             .dump(2, ' ', false, json::error_handler_t::replace) +
         "\n";
}

LaunchRecord read_launch_record(const std::string& run_dir) {
  const std::string path = run_dir + "/launch.json";
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return {};
  const json object = json::parse(trainer::read_whole_file(path, kMaxRecordBytes), nullptr, false);
  const bool good = object.is_object() && object.contains("workers") &&
                    object["workers"].is_number_integer() && object["workers"] > 0 &&
                    object.value("hosts", json("")).is_string();
  if (!good) throw std::runtime_error(path + ": expected {\"workers\": N, ...}, found something else");
  return {.workers = object["workers"], .hosts = object.value("hosts", "")};
}

std::optional<int> workers_of_checkpoints(const std::string& run_dir) {
  for (const auto& [step, folder] : numbered(fs::path(run_dir) / "checkpoints", "step-")) {
    for (const auto& [worker, checkpoint] : numbered(folder, "worker-")) {
      if (const int workers = workers_of_manifest(checkpoint / "manifest.json"); workers > 0) return workers;
    }
  }
  return std::nullopt;
}

}  // namespace thinwire::launch
