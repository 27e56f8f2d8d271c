// A model of ours as one file for other programs.
#include <fmt/format.h>

#include <filesystem>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "trainer/format/output_path.h"
#include "trainer/model_file.h"

namespace thinwire::launch {
namespace {

struct ExportOptions {
  std::string model, format, out;
};

int export_to_file(const ExportOptions& options) {
  if (!std::filesystem::exists(options.model))
    throw UsageError(options.model + ": no such run, checkpoint or file");
  const trainer::OutputPath out(options.out);
  const auto step = trainer::export_model(
      options.model,
      options.format == "packed" ? trainer::ExportFormat::kPacked : trainer::ExportFormat::kFloat, out);
  if (out.is_stream()) return kSuccess;
  fmt::print("{}: {} bytes{}\n", options.out, std::filesystem::file_size(options.out),
             step ? fmt::format(", the model of step {}", *step) : "");
  return kSuccess;
}

}  // namespace

Run declare_export(const CommandLine& line) {
  auto options = std::make_shared<ExportOptions>();
  line.option("model", options->model, "A run, a checkpoint or an exported file").required();
  line.option("--to", options->format,
              "safetensors: float32 weights; packed: low-bit layers as they are deployed")
      .required()
      .check(choice_of({"safetensors", "packed"}));
  line.option("-o,--out", options->out, "The file to write; - for standard output").required();
  return [options] { return export_to_file(*options); };
}

}  // namespace thinwire::launch
