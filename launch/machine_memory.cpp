#include "launch/machine_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace thinwire::launch {
namespace {

using Bytes = std::optional<std::uint64_t>;

Bytes number_in(std::string_view text) {
  const auto first = text.find_first_of("0123456789");
  if (first == std::string_view::npos) return std::nullopt;  // "max": no limit
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data() + first, text.data() + text.size(), number);
  return parsed.ec == std::errc() ? Bytes(number) : std::nullopt;
}

// The number behind a name in a file of "name number" lines; of the first line where the name is empty.
Bytes read_number(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return number_in(std::string_view(line).substr(name.size()));
  }
  return std::nullopt;
}

// The files of one version of control groups.
struct GroupFiles {
  const char* limit;
  const char* usage;
  const char* cache;  // in memory.stat: what the kernel can take back
};
constexpr GroupFiles kVersion2 = {"/memory.max", "/memory.current", "file "};
constexpr GroupFiles kVersion1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_cache "};

Bytes left_by_group(const std::string& folder, const GroupFiles& files) {
  const Bytes limit = read_number(folder + files.limit, ""), usage = read_number(folder + files.usage, "");
  if (!limit || !usage) return std::nullopt;
  const std::uint64_t taken =
      *usage - std::min(*usage, read_number(folder + "/memory.stat", files.cache).value_or(0));
  return *limit - std::min(*limit, taken);
}

Bytes lesser(Bytes a, Bytes b) {
  return a && b ? std::min(*a, *b) : a ? a : b;
}

// The group, and those around it. In a container the path may not be there, and its own group is the mount's
// root.
Bytes left_by_groups(const std::string& mount, std::string path, const GroupFiles& files) {
  Bytes left = left_by_group(mount, files);
  for (; path.size() > 1; path.resize(path.rfind('/')))
    left = lesser(left, left_by_group(mount + path, files));
  return left;
}

// Lines "0::/path" (version 2) and "4:memory:/path".
Bytes left_by_all_groups(const std::string& root) {
  Bytes left;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    std::istringstream parts(line);
    std::string number, controllers, path;
    if (!std::getline(parts, number, ':') || !std::getline(parts, controllers, ':') ||
        !std::getline(parts, path))
      continue;
    if (!path.starts_with('/')) continue;
    if (controllers.empty()) left = lesser(left, left_by_groups(root + "/sys/fs/cgroup", path, kVersion2));
    if (("," + controllers + ",").find(",memory,") != std::string::npos)
      left = lesser(left, left_by_groups(root + "/sys/fs/cgroup/memory", path, kVersion1));
  }
  return left;
}

}  // namespace

std::optional<std::uint64_t> available_memory(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  const Bytes free_kb = read_number(meminfo, "MemAvailable:");
  const std::uint64_t swap = read_number(meminfo, "SwapFree:").value_or(0) * 1024;
  const Bytes free = free_kb ? Bytes(*free_kb * 1024) : std::nullopt;
  const Bytes least = lesser(free, left_by_all_groups(root));
  return least ? Bytes(*least + swap) : std::nullopt;
}

}  // namespace thinwire::launch
