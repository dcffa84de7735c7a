package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func newConfigCmd(e *env) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check or show the configuration, without a cluster",
		Example: "  tradewind config check --config tradewind.yaml",
		Args:    cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&path, "config", "", "configuration file (default $TRADEWIND_CONFIG)")
	// load also reads the receivers' secrets: a missing file is found here and not at the
	// first delivery.
	load := func() (Config, error) {
		cfg, err := loadConfig(configPath(path, e), e.environ)
		if err != nil {
			return cfg, err
		}
		_, err = readReceivers(cfg.Hooks.Receivers)
		return cfg, err
	}
	cmd.AddCommand(&cobra.Command{
		Use: "check", Short: "Say whether the configuration is valid", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := load(); err != nil {
				return err
			}
			fmt.Fprintln(e.stderr, "configuration is valid")
			return nil
		},
	}, &cobra.Command{
		Use: "show", Short: "Print the effective configuration", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			out := yaml.NewEncoder(e.stdout)
			defer out.Close()
			return out.Encode(cfg)
		},
	})
	return cmd
}
