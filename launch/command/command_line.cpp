#include "launch/command/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <functional>
#include <optional>

#include "launch/config/check.h"

namespace thinwire::launch {
namespace {

namespace fs = std::filesystem;

OptionCheck checked(std::function<std::string(const std::string&)> problem, const std::string& words) {
  return {words, std::move(problem)};
}

template <class Number>
std::errc parse(const std::string& text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc()) return parsed.ec;
  return parsed.ptr == end ? std::errc() : std::errc::invalid_argument;
}

std::string range_words(std::int64_t least, std::int64_t most) {
  if (most >= std::numeric_limits<int>::max()) return fmt::format("{} or more", least);
  return fmt::format("{} to {}", least, most);
}

OptionCheck number(const std::string& words, std::function<bool(double)> accepts) {
  return checked(
      [words, accepts = std::move(accepts)](const std::string& text) -> std::string {
        double value = 0;
        const bool is_number = parse(text, value) == std::errc() && std::isfinite(value);
        if (is_number && accepts(value)) return {};
        return fmt::format("expected {}{}, found {}", is_number ? "" : "a number of ", words, text);
      },
      words);
}

OptionCheck entry(bool wants_folder) {
  const std::string wanted = wants_folder ? "folder" : "file";
  return checked(
      [=](const std::string& path) -> std::string {
        std::error_code none;
        const fs::file_status status = fs::status(path, none);
        if (!fs::exists(status)) return fmt::format("expected a {}, found nothing at {}", wanted, path);
        if (fs::is_directory(status) == wants_folder) return {};
        return fmt::format("expected a {}, found a {}: {}", wanted, wants_folder ? "file" : "folder", path);
      },
      wants_folder ? "FOLDER" : "FILE");
}

}  // namespace

OptionCheck whole_number(std::int64_t least, std::int64_t most) {
  return checked(
      [=](const std::string& text) -> std::string {
        std::int64_t value = 0;
        const std::errc error = parse(text, value);
        if (error == std::errc() && value >= least && value <= most) return {};
        if (error == std::errc::result_out_of_range || value > most)
          return fmt::format("expected at most {}, found {}", most, text);
        return fmt::format("expected {}{}, found {}", error == std::errc() ? "" : "a whole number of ",
                           range_words(least, most), text.empty() ? "nothing" : text);
      },
      range_words(least, most));
}

OptionCheck number_of_at_least(double least) {
  return number(limit_text(least) + " or more", [=](double value) { return value >= least; });
}

OptionCheck number_above(double limit) {
  return number("more than " + limit_text(limit), [=](double value) { return value > limit; });
}

OptionCheck choice_of(const std::vector<std::string>& names) {
  const Check<std::string> check = one_of(names);
  return checked(
      [check](const std::string& text) {
        const std::string problem = check.problem(text);
        return problem.empty() ? problem : fmt::format("{}, found \"{}\"", problem, text);
      },
      check.words);
}

OptionCheck existing_file() {
  return entry(false);
}

OptionCheck existing_folder() {
  return entry(true);
}

CommandOption& CommandOption::required() {
  option_->required();
  return *this;
}

CommandOption& CommandOption::check(const OptionCheck& check) {
  option_->check(
      CLI::Validator([problem = check.problem](std::string& text) { return problem(text); }, check.words));
  return *this;
}

CommandOption& CommandOption::once_each() {
  option_->allow_extra_args(false);
  return *this;
}

CommandOption& CommandOption::by_commas() {
  option_->delimiter(',');
  return *this;
}

CommandOption& CommandOption::hidden() {
  option_->group("");
  return *this;
}

template <class T>
CommandOption CommandLine::option(const std::string& names, T& target, const std::string& help) const {
  return CommandOption(app_.add_option(names, target, help));
}

CommandOption CommandLine::flag(const std::string& name, bool& target, const std::string& help) const {
  return CommandOption(app_.add_flag(name, target, help));
}

CommandOption CommandLine::option_call(const std::string& name,
                                       std::function<void(const std::string&)> use) const {
  return CommandOption(app_.add_option_function<std::string>(name, std::move(use)));
}

// The types that commands have.
template CommandOption CommandLine::option(const std::string&, std::string&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, int&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::int64_t&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::size_t&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::optional<int>&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, double&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::vector<std::string>&,
                                           const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::vector<int>&, const std::string&) const;
template CommandOption CommandLine::option(const std::string&, std::vector<std::size_t>&,
                                           const std::string&) const;

}  // namespace thinwire::launch
