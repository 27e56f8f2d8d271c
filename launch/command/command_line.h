// The options of a command, without CLI11: its header takes seconds to read, and a dozen commands declare
// options.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace thinwire::launch {

// What an option accepts, in the words of the config's messages; the option's name is put before them.
struct OptionCheck {
  std::string words;                                            // for --help: "1 or more"
  std::function<std::string(const std::string& text)> problem;  // "expected ..., found ..."; empty: none
};

OptionCheck whole_number(std::int64_t least, std::int64_t most = std::numeric_limits<int>::max());
OptionCheck number_of_at_least(double least);
OptionCheck number_above(double limit);
// The message suggests the nearest.
OptionCheck choice_of(const std::vector<std::string>& names);
OptionCheck existing_file();  // or a pipe, or what else can be read
OptionCheck existing_folder();

// An option that was declared.
class CommandOption {
 public:
  explicit CommandOption(CLI::Option* option) : option_(option) {}
  CommandOption& required();
  CommandOption& check(const OptionCheck& check);
  CommandOption& once_each();  // of a list: --set a --set b, not --set a b
  CommandOption& by_commas();  // of a list: 1,2 as well
  CommandOption& hidden();     // not for users

 private:
  CLI::Option* option_;
};

// Where a command declares its options.
class CommandLine {
 public:
  CommandLine(CLI::App& app, const std::vector<std::string>& rest) : after_dashes(rest), app_(app) {}

  // names: "-n,--workers", or "config" for what stands by its place. target keeps its value where the option
  // is not given, and must outlive the parsing. Of strings, whole and other numbers, and lists of them.
  template <class T>
  CommandOption option(const std::string& names, T& target, const std::string& help = "") const;
  CommandOption flag(const std::string& name, bool& target, const std::string& help = "") const;
  // Calls `use` with the text of an option that is given.
  CommandOption option_call(const std::string& name, std::function<void(const std::string&)> use) const;

  const std::vector<std::string>& after_dashes;  // what stands after "--"; outlives the command's Run

 private:
  CLI::App& app_;
};

}  // namespace thinwire::launch
