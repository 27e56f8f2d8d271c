// What a file or a run's folder holds.
#include <fmt/format.h>

#include <filesystem>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "trainer/format/describe.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

bool is_flat(const json& value) {
  return !value.is_structured() ||
         std::none_of(value.begin(), value.end(), [](const json& v) { return v.is_object(); });
}

std::string plain(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// "name=a dtype=F32 shape=[2,3]": an object of a list on one line.
std::string one_line(const json& object) {
  std::string line;
  for (const auto& [name, value] : object.items()) {
    line += fmt::format("{}{}={}", line.empty() ? "" : " ", name, plain(value));
  }
  return line;
}

// Objects are indented under their names; lists of objects have one line an entry.
void print(const json& object, int depth) {
  const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
  for (const auto& [name, value] : object.items()) {
    if (value.is_object() && !value.empty()) {
      fmt::print("{}{}:\n", indent, name);
      print(value, depth + 1);
    } else if (value.is_array() && !is_flat(value)) {
      fmt::print("{}{}:\n", indent, name);
      for (const json& entry : value) fmt::print("{}  {}\n", indent, one_line(entry));
    } else {
      fmt::print("{}{}: {}\n", indent, name, plain(value));
    }
  }
}

struct InspectOptions {
  std::string path;
  bool json = false;
};

int inspect(const InspectOptions& options) {
  if (!std::filesystem::exists(options.path)) throw UsageError(options.path + ": no such file or folder");
  const nlohmann::json description = trainer::describe(options.path);
  if (options.json) {
    fmt::print("{}\n", description.dump(2));
  } else {
    print(description, 0);
  }
  return kSuccess;
}

}  // namespace

Run declare_inspect(const CommandLine& line) {
  auto options = std::make_shared<InspectOptions>();
  line.option("file", options->path, "A run, a checkpoint, a safetensors file or a wire message").required();
  line.flag("--json", options->json, "The description as JSON on standard output");
  return [options] { return inspect(*options); };
}

}  // namespace thinwire::launch
