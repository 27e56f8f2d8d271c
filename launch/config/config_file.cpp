#include "launch/config/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "launch/config/config.h"
#include "launch/config/nearest.h"

namespace thinwire::launch {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

std::vector<std::string> configs_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? "." : folder, none)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Of a path at which there is nothing.
std::string advice_for(const fs::path& path) {
  const std::string slip = suggestion(path.filename().string(), configs_in(path.parent_path()));
  return slip.empty() ? "see examples/, and docs/config.md for every key"
                      : fmt::format("did you mean {}?", (path.parent_path() / slip).string());
}

std::string describe_folder(const fs::path& folder) {
  std::error_code none;
  if (fs::exists(folder / "config.toml", none))
    return fmt::format("a run; to go on with it: thinwire resume {}", folder.string());
  const std::vector<std::string> configs = configs_in(folder);
  if (configs.size() == 1)
    return fmt::format("a folder; did you mean {}?", (folder / configs.front()).string());
  return "a folder";
}

}  // namespace

std::string read_config_file(const std::string& path) {
  std::error_code none;
  const fs::file_status status = fs::status(path, none);
  if (!fs::exists(status))
    throw ConfigError(
        fmt::format("{}: there is no such file; expected a TOML config file, {}", path, advice_for(path)));
  if (fs::is_directory(status))
    throw ConfigError(fmt::format("{}: expected a TOML config file, found {}", path, describe_folder(path)));
  // A pipe of the shell's has a writer; one that lies about might have none.
  if (fs::is_fifo(status) && !path.starts_with("/dev/") && !path.starts_with("/proc/"))
    throw ConfigError(path + ": expected a TOML config file, found a named pipe");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    throw ConfigError(
        fmt::format("{}: cannot be read: {}", path, errno == 0 ? "unknown" : std::strerror(errno)));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxConfigBytes)
    throw ConfigError(
        fmt::format("{}: expected a TOML config file, found more than {} bytes", path, kMaxConfigBytes));
  return text;
}

}  // namespace thinwire::launch
